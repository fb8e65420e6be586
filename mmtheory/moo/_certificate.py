"""How far given weights are from optimal, computed from the Gramian and the weights alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Certificate:
    r"""Optimality of weights: four numbers for each Gramian of the batch, all zero at the exact answer.

    ``gap`` is the duality gap of the programme a method solves; for min-norm weights it bounds the squared distance of the direction
    from the exact one, :math:`\|d - d^*\|^2 \le \mathrm{gap}`. A method defined by equations reports its largest relative residual there.

    :param gap: duality gap in the units of the method's objective, or largest residual.
    :param primal: largest violation of the weights' own constraints.
    :param dual: largest violation of the multipliers' signs; for a direction, how strongly it ascends some objective.
    :param complementarity: largest product of a weight and its multiplier.
    :param squared_norm: wᵀGw, the squared length of the direction.

    Shape: each field ``[*batch]``.
    """

    gap: Tensor
    primal: Tensor
    dual: Tensor
    complementarity: Tensor
    squared_norm: Tensor

    @property
    def relative(self) -> Tensor:
        """``gap`` over the squared length of the direction (0 where both vanish, NaN for weights that are none); residuals are relative already."""
        return torch.where(self.gap == 0, 0.0, self.gap / self.squared_norm)


def product(gramian: Tensor, weights: Tensor) -> Tensor:
    """Gw: the slope ⟨g_i, d⟩ of every objective along the direction."""
    return (gramian @ weights[..., None])[..., 0]


def compensated_product(gramian: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Gw as an unevaluated sum of two float64 numbers, as if computed in twice the precision.

    Source: Ogita, Rump & Oishi 2005, Dot2 (paper); Dekker's splitting in place of a fused multiply-add.
    """
    terms = gramian * weights[..., None, :]
    wide, narrow = _split(gramian)
    top, bottom = _split(weights[..., None, :])
    errors = ((wide * top - terms) + wide * bottom + narrow * top) + narrow * bottom
    total, rest = terms[..., 0], errors.sum(-1)
    for term in terms.unbind(-1)[1:]:
        after = total + term
        part = after - total
        rest = rest + ((total - (after - part)) + (term - part))
        total = after
    return total, rest


def _split(x: Tensor) -> tuple[Tensor, Tensor]:
    """x as the sum of two numbers of 26 bits each."""
    scaled = x * (2.0**27 + 1)
    high = scaled - (scaled - x)
    return high, x - high


def squared_norm(gramian: Tensor, weights: Tensor) -> Tensor:
    """wᵀGw, the squared length of the direction."""
    return (weights * product(gramian, weights)).sum(-1)


def certify_simplex(gramian: Tensor, weights: Tensor) -> Certificate:
    r"""Certificate of min-norm weights on the simplex.

    .. math:: \mathrm{gap} = w^\top G w - \min_i (Gw)_i, \qquad \tfrac12\|d\|^2 - \tfrac12\|d^*\|^2 \le \mathrm{gap}

    Shape: gramian ``[*batch, m, m]``, weights ``[*batch, m]``.

    Source: derived here (the Frank–Wolfe gap of a quadratic), summed as Σ w_i((Gw)_i − min_j (Gw)_j) in compensated arithmetic.

    >>> certify_simplex(torch.eye(2), torch.tensor([1.0, 0.0])).gap.item()
    1.0
    """
    return certify_bounded(gramian, weights, 1.0)


def certify_bounded(gramian: Tensor, weights: Tensor, cap: float) -> Certificate:
    """Certificate of min-norm weights on the simplex cut by ``w ≤ cap``; the gap is against the best vertex of that polytope."""
    G, w = gramian.double(), weights.double()
    slopes, rest = compensated_product(G, w)
    order = slopes.argsort(-1)
    # Slopes relative to the least one: their differences survive where the slopes themselves are rounding error of a large row.
    least = order[..., :1]
    excess = (slopes - slopes.gather(-1, least)) + (rest - rest.gather(-1, least))
    m = w.shape[-1]
    mass = torch.arange(m, dtype=G.dtype, device=G.device) * cap
    vertex = (excess.gather(-1, order) * (1 - mass).clamp(min=0, max=cap)).sum(-1)
    value = (w * slopes).sum(-1)
    gap = (w * excess).sum(-1) - vertex
    outside = torch.maximum((-w).amax(-1), (w - cap).amax(-1)).clamp(min=0)
    primal = torch.maximum((w.sum(-1) - 1).abs(), outside)
    above = excess - (w * excess).sum(-1, keepdim=True)
    # With a binding cap, slopes below ‖d‖² and products at the cap are no fault; the gap alone decides.
    free = 1.0 if cap >= 1 else 0.0
    return Certificate(
        gap.clamp(min=0), primal, free * (-above).amax(-1).clamp(min=0), free * (w * above).abs().amax(-1), value
    )


def certify_nnqp(gramian: Tensor, linear: Tensor, solution: Tensor) -> Certificate:
    r"""Certificate of ``nnqp``: with y = Gz + q, the gap zᵀy and the violations of z ≥ 0 and y ≥ 0.

    >>> certify_nnqp(torch.eye(2), torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 0.0])).gap.item()
    0.0
    """
    y = product(gramian, solution) + linear
    return Certificate(
        (solution * y).sum(-1).abs(),
        (-solution).amax(-1).clamp(min=0),
        (-y).amax(-1).clamp(min=0),
        (solution * y).abs().amax(-1),
        squared_norm(gramian, solution),
    )


def certify_equations(gramian: Tensor, weights: Tensor, residual: Tensor) -> Certificate:
    """Certificate of a method defined by equations: ``gap`` is the residual, ``dual`` the steepest relative ascent of an objective."""
    slopes = product(gramian, weights)
    length = squared_norm(gramian, weights).clamp(min=0)
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = norms * length.sqrt()[..., None]
    ascent = torch.where(scale > 0, -slopes / scale, 0.0).amax(-1).clamp(min=0)
    return Certificate(residual, torch.zeros_like(residual), ascent, torch.zeros_like(residual), length)


def distance(gramian: Tensor, weights: Tensor, reference: Tensor) -> Tensor:
    """``‖Jᵀw − Jᵀw_ref‖`` relative to ``‖Jᵀw_ref‖``, from the Gramian alone; a difference below what the Gramian resolves counts as none."""
    apart = squared_norm(gramian, weights - reference)
    unseen = noise_of(gramian, weights) + noise_of(gramian, reference)
    apart = torch.where(apart > unseen, apart.clamp(min=0), 0.0).sqrt()
    length = squared_norm(gramian, reference).clamp(min=0).sqrt()
    return torch.where(length > 0, apart / torch.where(length > 0, length, 1.0), apart)


def noise_of(gramian: Tensor, weights: Tensor) -> Tensor:
    """What rounding can make of wᵀGw where the direction is zero."""
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    return 16 * weights.shape[-1] * EPS * (weights.abs() * norms).sum(-1) ** 2
