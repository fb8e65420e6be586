"""EPO search: descend to the Pareto point on a preference ray."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, product, squared_norm
from ._checks import above, admitted, beside, positive, within
from ._weighting import InLoop

MOST = 6
FEASIBLE = 1e-9
EPS = torch.finfo(torch.float64).eps


@final
@dataclass(frozen=True)
class EPO(InLoop):
    r"""Exact Pareto-optimal search towards losses with r_i f_i equal.

    .. math:: \hat l = r \circ f / \textstyle\sum r f, \quad \mu_r = \sum \hat l \log(m \hat l), \quad a_i = r_i(\log(m \hat l_i) - \mu_r)

    Off the ray (μ_r > eps) it balances, :math:`\max_{w \in \Delta} w^\top G a` without raising an objective whose (Ga)_j ≤ 0 faster than a
    does and never the worst one; on it, it descends, :math:`\max_{w \in \Delta} 1^\top G w` subject to Gw ≥ 0. Both linear programmes are
    solved exactly by their vertices. Where the balance has no feasible point the descent, which always has one, takes its place.

    :param preference: positive r.
    :param eps: non-uniformity below which the ray counts as reached.
    :raises ArgumentError: a preference that is not positive, a negative eps, more than 6 objectives, a loss that is not positive.

    Source: Mahapatra & Rajan 2020 (paper) and its public code (relaxed descent).

    >>> G = torch.eye(2, dtype=torch.float64)
    >>> EPO(preference=(1.0, 1.0)).weights(G, torch.tensor([3.0, 1.0])).tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "epo"

    preference: tuple[float, ...]
    eps: float = 1e-4

    def __post_init__(self) -> None:
        within("eps", self.eps, 0.0)
        positive("preference", self.preference)

    def weights(self, gramian: Tensor, losses: Tensor, *, validate: bool = True) -> Tensor:
        """The weights at these losses; gramian ``[*batch, m, m]``, losses ``[*batch, m]``, which must be positive."""
        G, gain, bound = self._programme(admitted(gramian, validate=validate), losses)
        return _best(_vertices(G, bound), gain, G, bound)[0].to(gramian.dtype)

    def at(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The same, of a Gramian that is known to be good."""
        return self.weights(gramian, losses, validate=False)

    def certificate(self, gramian: Tensor, losses: Tensor, weights: Tensor) -> Certificate:
        """The duality gap of the linear programme, in units of the largest G_ii; the dual point comes from the other programme's vertices."""
        raw, w = gramian.detach().double(), weights.detach().double()
        G, gain, bound = self._programme(raw, losses)
        multipliers = _multipliers(G, gain, bound)
        slack = torch.where(bound.isfinite(), product(G, w) - bound, torch.inf)
        # The least ν that makes the multipliers feasible bounds every weight's worth from above.
        level = (gain + product(G, multipliers)).amax(-1)
        worth = (torch.where(bound.isfinite(), bound, 0.0) * multipliers).sum(-1)
        gap = (level - worth - (gain * w).sum(-1)).clamp(min=0)
        outside = torch.maximum((-w).amax(-1), (-slack).amax(-1)).clamp(min=0)
        primal = torch.maximum(outside, (w.sum(-1) - 1).abs())
        together = torch.where(multipliers > 0, multipliers * slack, 0.0).abs().amax(-1)
        return Certificate(gap, primal, torch.zeros_like(gap), together, squared_norm(raw, w))

    def _programme(self, raw: Tensor, losses: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The scaled Gramian, the gain to maximise and the bound for Gw: balance off the ray where that is feasible, else descent."""
        m = raw.shape[-1]
        if len(self.preference) != m or losses.shape != raw.shape[:-1]:
            raise ArgumentError(
                f"losses, preference: expected {m} objectives, found {list(losses.shape)}, {len(self.preference)}"
            )
        if m > MOST:
            raise ArgumentError(
                f"gramian: expected at most {MOST} objectives for the exact linear programme, found {m}"
            )
        above(losses, 0.0)
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
        _, feasible = _best(_vertices(G, bound), pull, G, bound)
        chosen = ((uneven > self.eps) & feasible)[..., None]
        return G, torch.where(chosen, pull, G.sum(-2)), torch.where(chosen, bound, 0.0)


def _vertices(G: Tensor, bound: Tensor) -> Tensor:
    """Every point of {1ᵀw = 1} where m − 1 of the 2m inequalities w ≥ 0, Gw ≥ bound are tight: ``[*batch, count, m]`` (NaN if none)."""
    rows, right, choice = _inequalities(G, bound)
    system = torch.cat((rows[..., choice, :], torch.ones_like(rows[..., choice[:, :1], :])), -2)
    value = torch.cat((right[..., choice], torch.ones_like(right[..., choice[:, :1]])), -1)
    finite = value.isfinite().all(-1, keepdim=True)
    point, info = torch.linalg.solve_ex(system, torch.where(finite, value, 0.0)[..., None])
    return torch.where(finite & (info == 0)[..., None], point[..., 0], torch.nan)


def _inequalities(G: Tensor, bound: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Left and right sides of w ≥ 0 and Gw ≥ bound, and every choice of m − 1 of them."""
    m = G.shape[-1]
    rows = torch.cat((torch.eye(m, dtype=G.dtype, device=G.device).expand_as(G), G), -2)
    choice = torch.tensor(list(itertools.combinations(range(2 * m), m - 1))).to(G.device, non_blocking=True)
    return rows, torch.cat((torch.zeros_like(bound), bound), -1), choice


def _multipliers(G: Tensor, gain: Tensor, bound: Tensor) -> Tensor:
    """Multipliers z ≥ 0 of Gw ≥ bound at the best vertex of the dual programme min ν − boundᵀz, gain + Gz + y = ν1, y, z ≥ 0."""
    rows, right, choice = _inequalities(G, bound)
    m = G.shape[-1]
    chosen = rows[..., choice, :].mT
    system = torch.cat((chosen, -torch.ones_like(chosen[..., :1])), -1)
    found, info = torch.linalg.solve_ex(system, -gain[..., None, :, None].expand(*system.shape[:-1], 1))
    found = found[..., 0]
    y, level = found[..., :-1], found[..., -1]
    limits = right[..., choice]
    usable = (info == 0) & limits.isfinite().all(-1) & (y >= -FEASIBLE).all(-1)
    cost = level - (torch.where(limits.isfinite(), limits, 0.0) * y).sum(-1)
    at = torch.where(usable, cost, torch.inf).argmin(-1, keepdim=True)
    best = y.gather(-2, at[..., None].expand(*at.shape, m - 1))[..., 0, :]
    whole = torch.zeros_like(right).scatter(-1, choice[at[..., 0]], best)[..., m:].clamp(min=0)
    return torch.where(bound.isfinite() & usable.any(-1, keepdim=True), whole, 0.0)


def _best(vertices: Tensor, gain: Tensor, G: Tensor, bound: Tensor) -> tuple[Tensor, Tensor]:
    """The feasible vertex of largest gain, and whether there is a feasible one."""
    inside = (vertices >= -FEASIBLE).all(-1)
    slopes = (vertices @ G) - bound[..., None, :]
    inside = inside & (slopes >= -FEASIBLE).all(-1)
    worth = torch.where(inside, (vertices * gain[..., None, :]).sum(-1), -torch.inf)
    at = worth.argmax(-1)[..., None, None].expand(*worth.shape[:-1], 1, vertices.shape[-1])
    point = vertices.gather(-2, at)[..., 0, :].clamp(min=0)
    return point / point.sum(-1, keepdim=True), inside.any(-1)
