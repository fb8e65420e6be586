"""EPO search: descend to the Pareto point on a preference ray."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import product
from ._checks import admitted, beside, within

MOST = 6
FEASIBLE = 1e-9
EPS = torch.finfo(torch.float64).eps


@final
@dataclass(frozen=True)
class EPO:
    r"""Exact Pareto-optimal search towards losses with r_i f_i equal.

    .. math:: \hat l = r \circ f / \textstyle\sum r f, \quad \mu_r = \sum \hat l \log(m \hat l), \quad a_i = r_i(\log(m \hat l_i) - \mu_r)

    Off the ray (μ_r > eps) it balances, :math:`\max_{w \in \Delta} w^\top G a` without raising an objective whose (Ga)_j ≤ 0 faster than a
    does and never the worst one; on it, it descends, :math:`\max_{w \in \Delta} 1^\top G w` subject to Gw ≥ 0. Both linear programmes are
    solved exactly by their vertices. Where the balance has no feasible point the descent, which always has one, takes its place.

    :param preference: positive r.
    :param eps: non-uniformity below which the ray counts as reached.
    :raises ArgumentError: a preference that is not positive, a negative eps, more than 6 objectives.

    Source: Mahapatra & Rajan 2020 (paper) and its public code (relaxed descent).

    >>> G = torch.eye(2, dtype=torch.float64)
    >>> EPO(preference=(1.0, 1.0)).weights(G, torch.tensor([3.0, 1.0])).tolist()
    [1.0, 0.0]
    """

    preference: tuple[float, ...]
    eps: float = 1e-4

    def __post_init__(self) -> None:
        within("eps", self.eps, 0.0)
        if not all(p > 0 for p in self.preference):
            raise ArgumentError(f"preference: expected positive entries, found {self.preference}")

    def weights(self, gramian: Tensor, losses: Tensor, *, validate: bool = True) -> Tensor:
        """The weights at these losses; gramian ``[*batch, m, m]``, losses ``[*batch, m]``, which must be positive."""
        raw = admitted(gramian, validate=validate)
        m = raw.shape[-1]
        if len(self.preference) != m or losses.shape != raw.shape[:-1]:
            raise ArgumentError(
                f"losses, preference: expected {m} objectives, found {list(losses.shape)}, {len(self.preference)}"
            )
        if m > MOST:
            raise ArgumentError(
                f"gramian: expected at most {MOST} objectives for the exact linear programme, found {m}"
            )
        size = raw.diagonal(dim1=-2, dim2=-1).amax(-1)
        G = raw / torch.where(size > 0, size, 1.0)[..., None, None]
        r = beside(self.preference, G)
        weighted = r * losses.detach().double()
        share = weighted / weighted.sum(-1, keepdim=True)
        logs = (m * share).clamp(min=EPS).log()
        uneven = (share * logs).sum(-1)
        a = r * (logs - uneven[..., None])
        pull = product(G, a)
        bound = torch.where(pull > 0, -torch.inf, pull)
        bound = torch.where(weighted >= weighted.amax(-1, keepdim=True), 0.0, bound)
        bound = torch.where((pull > 0).any(-1, keepdim=True), bound, 0.0)
        vertices = _vertices(G, bound)
        balanced, feasible = _best(vertices, pull, G, bound)
        descending, _ = _best(_vertices(G, torch.zeros_like(pull)), G.sum(-2), G, torch.zeros_like(pull))
        chosen = ((uneven > self.eps) & feasible)[..., None]
        return torch.where(chosen, balanced, descending).to(gramian.dtype)


def _vertices(G: Tensor, bound: Tensor) -> Tensor:
    """Every point of {1ᵀw = 1} where m − 1 of the 2m inequalities w ≥ 0, Gw ≥ bound are tight: ``[*batch, count, m]`` (NaN if none)."""
    m = G.shape[-1]
    rows = torch.cat((torch.eye(m, dtype=G.dtype, device=G.device).expand_as(G), G), -2)
    right = torch.cat((torch.zeros_like(bound), bound), -1)
    choice = torch.tensor(list(itertools.combinations(range(2 * m), m - 1))).to(G.device, non_blocking=True)
    system = torch.cat((rows[..., choice, :], torch.ones_like(rows[..., choice[:, :1], :])), -2)
    value = torch.cat((right[..., choice], torch.ones_like(right[..., choice[:, :1]])), -1)
    finite = value.isfinite().all(-1, keepdim=True)
    point, info = torch.linalg.solve_ex(system, torch.where(finite, value, 0.0)[..., None])
    return torch.where(finite & (info == 0)[..., None], point[..., 0], torch.nan)


def _best(vertices: Tensor, gain: Tensor, G: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The feasible vertex of largest gain, and whether there is a feasible one."""
    inside = (vertices >= -FEASIBLE).all(-1)
    slopes = (vertices @ G) - bound[..., None, :]
    inside = inside & (slopes >= -FEASIBLE).all(-1)
    worth = torch.where(inside, (vertices * gain[..., None, :]).sum(-1), -torch.inf)
    at = worth.argmax(-1)[..., None, None].expand(*worth.shape[:-1], 1, vertices.shape[-1])
    point = vertices.gather(-2, at)[..., 0, :].clamp(min=0)
    return point / point.sum(-1, keepdim=True), inside.any(-1)
