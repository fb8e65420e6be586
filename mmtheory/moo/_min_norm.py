"""MGDA: the shortest vector in the convex hull of the gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ._certificate import Certificate, certify_simplex, compensated_product
from ._checks import numbers
from ._nnqp import pivot_one, scaled, solve_scaled, support_solve
from ._weighting import Weighting

PAIR = 2
EPS = float(np.finfo(np.float64).eps)
UPWARD = 1 + 4 * EPS  # the longer row's weight, rounded up: see ``_polished``
WIDE = 1e6
REFINED = 1e-6


@final
@dataclass(frozen=True)
class MGDA(Weighting):
    r"""Min-norm weights, exactly.

    .. math:: w = \arg\min_{w \in \Delta} w^\top G w, \qquad \langle g_i, d\rangle \ge \|d\|^2 \text{ for every } i

    d = 0 exactly at weakly Pareto-stationary points; a single zero gradient is one, so structurally absent objectives must be left out
    rather than entered as zero rows. Two objectives have a closed form; more go through ``nnqp`` by the lifting

    .. math:: \min_{w \in \Delta} w^\top G w \;\Leftrightarrow\; \min_{z \ge 0} \tfrac12 z^\top (G + \kappa 11^\top) z - \kappa 1^\top z,
        \quad w = z / 1^\top z, \quad \kappa = \min_i G_{ii}

    which is finite even with 0 in the hull, and regular on every affinely independent support.

    Source: Désidéri 2012 (paper); the lifting is derived here.

    >>> MGDA().weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.75, 0.25]
    """

    name: ClassVar[str] = "mgda"
    degree: ClassVar[float | None] = 0.0

    def solve(self, gramian: Tensor) -> Tensor:
        return min_norm(gramian)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        return certify_simplex(gramian, weights)


def min_norm(gramian: Tensor) -> Tensor:
    """Min-norm weights of float64 Gramians that are known to be good."""
    one = numbers(gramian) if gramian.ndim == PAIR else None
    if one is not None and len(one) == PAIR:
        return torch.from_numpy(pair_weights(float(one[0, 0]), float(one[0, 1]), float(one[1, 1])))
    if gramian.shape[-1] == PAIR:
        return min_norm_of_two(gramian)
    found = None if one is None else lifted(one)
    weights = _lifted_many(gramian) if found is None else torch.from_numpy(found)
    return _polished_where_wide(gramian, weights)


def min_norm_of_two(gramian: Tensor) -> Tensor:
    """The closed form for m = 2: clip((G₂₂ − G₁₂)/(G₁₁ + G₂₂ − 2G₁₂), 0, 1), and ½ where the two gradients are equal."""
    a, b, c = gramian[..., 0, 0], gramian[..., 0, 1], gramian[..., 1, 1]
    spread = (a - b) + (c - b)
    regular = spread > 0
    below = torch.where(regular, spread, 1.0)
    first = torch.where(regular, ((c - b) / below).clamp(0, 1), 0.5)
    second = torch.where(regular, ((a - b) / below).clamp(0, 1), 0.5)
    return torch.stack((torch.where(a > c, UPWARD * first, first), torch.where(c > a, UPWARD * second, second)), -1)


def pair_weights(a: float, b: float, c: float) -> np.ndarray:
    """The closed form for one pair on the host."""
    spread = (a - b) + (c - b)
    if spread <= 0:
        return np.array([0.5, 0.5])
    first, second = min(max((c - b) / spread, 0.0), 1.0), min(max((a - b) / spread, 0.0), 1.0)
    return np.array([UPWARD * first if a > c else first, UPWARD * second if c > a else second])


def lifted(G: np.ndarray) -> np.ndarray | None:
    """The lifted programme for one Gramian on the host; None if its supports are dependent."""
    kappa = G.diagonal().min()
    if kappa <= 0:
        vertex = (G.diagonal() == kappa).astype(np.float64)
        return vertex / vertex.sum()
    raised = G + kappa
    inverse = np.ldexp(1.0, -np.frexp(np.sqrt(raised.diagonal()))[1])
    z = pivot_one(raised * inverse * inverse[:, None], -kappa * inverse)
    return None if z is None else z * inverse / (z * inverse).sum()


def _lifted_many(gramian: Tensor) -> Tensor:
    """The lifted programme for a batch."""
    diagonal = gramian.diagonal(dim1=-2, dim2=-1)
    kappa = diagonal.amin(-1)
    vertex = (diagonal == kappa[..., None]).to(gramian.dtype)
    alive = kappa > 0
    lift = torch.where(alive, kappa, 1.0)[..., None]
    problem = scaled(gramian + lift[..., None], (-lift).expand_as(diagonal))
    z = solve_scaled(problem.cosines, problem.linear) * problem.inverse
    weights = torch.where(alive[..., None], z, vertex)
    return weights / weights.sum(-1, keepdim=True)


def _polished_where_wide(gramian: Tensor, weights: Tensor) -> Tensor:
    """The weights, refined where the rows differ so much that the last bit of a weight is visible in the duality gap."""
    diagonal = gramian.diagonal(dim1=-2, dim2=-1)
    wide = diagonal.amax(-1) > WIDE * diagonal.amin(-1)
    known = numbers(wide)
    if known is None:
        return torch.where(wide[..., None], _polished(gramian, weights), weights)
    if not known.any():
        return weights
    if known.ndim == 0:
        return _polished(gramian, weights)
    weights[wide] = _polished(gramian[wide], weights[wide])
    return weights


def _polished(gramian: Tensor, weights: Tensor) -> Tensor:
    r"""One Newton step on the support that leaves the slopes of its rows at or above ‖d‖² after rounding.

    A weight of a row of norm 10³ beside one of 10⁻³ is so small that half a unit of its last place moves the slope by 10⁻¹⁰ of ‖d‖². Too
    low a slope costs all of that in the gap, too high a slope only that times the small weight: so the step aims high by the rounding.
    """
    slopes, rest = compensated_product(gramian, weights)
    least = slopes.argmin(-1, keepdim=True)
    excess = (slopes - slopes.gather(-1, least)) + (rest - rest.gather(-1, least))
    above = excess - (weights * excess).sum(-1, keepdim=True)
    aim = EPS * (gramian.abs() @ weights[..., None])[..., 0]
    kappa = gramian.diagonal(dim1=-2, dim2=-1).amin(-1)
    problem = scaled(gramian + kappa[..., None, None], above - aim)
    m = gramian.shape[-1]
    step, _ = support_solve(
        problem.cosines.reshape(-1, m, m), problem.linear.reshape(-1, m), (weights > 0).reshape(-1, m)
    )
    moved = weights + step.reshape(weights.shape) * problem.inverse
    # A step of more than a few units in the last place is not a refinement: the support is all but dependent.
    small = ((moved - weights).abs() <= REFINED * weights).all(-1, keepdim=True)
    return torch.where(small, moved, weights)
