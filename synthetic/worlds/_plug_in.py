"""The plug-in discriminant: what estimating the class mean from n samples costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

_NODES = 160


def plug_in_error(separation: float, dim: int, n: int) -> float:
    r"""Expected error of the discriminant with known covariance and direction mean(y_i x_i), y = ±1.

    .. math:: E\,\Phi\!\left(\frac{-D(\sqrt n D + Z)}{\sqrt{(\sqrt n D+Z)^2 + V}}\right), \qquad Z \sim N(0,1),\ V \sim \chi^2_{d-1}

    Integrated in polar coordinates of (√n D + Z, √V), where the integrand has no singularity at the origin.

    :param separation: D of the chosen modalities; 0 is guessing, whatever n.
    :param dim: d, all coordinates, noise included; 1 leaves only the sign to estimate.

    Source: derived here.

    >>> round(plug_in_error(0.8, 2, 100), 4), round(plug_in_error((0.64 + 0.25) ** 0.5, 62, 100), 4)
    (0.2137, 0.2344)
    """
    mean = math.sqrt(n) * separation
    if dim == 1:
        right = 0.5 * math.erfc(-mean / math.sqrt(2))
        wrong = 0.5 * math.erfc(separation / math.sqrt(2))
        return right * wrong + (1 - right) * (1 - wrong)
    middle = math.hypot(mean, math.sqrt(dim))
    radius, radius_weight = legendre(max(0.0, middle - 12), middle + 12)
    around, reach = math.atan2(math.sqrt(dim - 1), mean), 14 / middle
    angle, angle_weight = legendre(max(0.0, around - reach), min(math.pi, around + reach))
    r, a = radius[:, None], angle[None, :]
    # Density of (T, U) = r(cos a, sin a): normal about √n D times chi with d − 1 degrees, times r for the change of variables.
    log_density = (
        -0.5 * (r * r - 2 * r * mean * a.cos() + mean * mean) - 0.5 * math.log(2 * math.pi)
        + (dim - 2) * (r * a.sin()).log() + r.log() - (0.5 * (dim - 1) - 1) * math.log(2) - math.lgamma(0.5 * (dim - 1))
    )  # fmt: skip
    error = torch.special.ndtr(-separation * a.cos())
    return float(radius_weight @ (log_density.exp() * error) @ angle_weight)


def first(holds: Callable[[int], bool], *, most: int) -> float:
    """The smallest n >= 2 from which on a condition holds that does not cease to; infinite beyond ``most``.

    >>> first(lambda n: n * n >= 50, most=100)
    8.0
    """
    low, high = 1, 2
    while not holds(high):
        low, high = high, 2 * high
        if high > most:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return float(high)


def legendre(low: float, high: float, count: int = _NODES) -> tuple[Tensor, Tensor]:
    """Gauss–Legendre nodes and weights on an interval."""
    nodes, weights = _reference(count)
    half = (high - low) / 2
    return low + half * (nodes + 1), weights * half


@cache
def _reference(count: int) -> tuple[Tensor, Tensor]:
    """The rule on [−1, 1], by Golub and Welsch."""
    k = torch.arange(1, count, dtype=torch.float64)
    beside = k / (4 * k * k - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return nodes, 2 * vectors[0] ** 2
