"""Exponents from curves: least-squares slopes with intervals, and the robust slope that outliers do not move."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from scipy import special
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._interval import Interval


def slope(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor, *, alpha: float) -> Interval:
    """Student's interval for the slope of a straight line through independent points with one variance.

    Points exactly on a line give an interval of no width.

    :raises ArgumentError: fewer than three points, or all x equal.

    Source: textbook least squares.

    >>> slope([0.0, 1.0, 2.0], [1.0, 3.0, 5.0], alpha=0.01).middle
    2.0
    """
    a, b = _points(x, y)
    centred = a - a.mean()
    spread = float((centred**2).sum())
    if spread <= 0:
        raise ArgumentError("slope: expected x that differ, found all equal")
    fit = float((centred * b).sum()) / spread
    residual = b - b.mean() - fit * centred
    error = math.sqrt(float((residual**2).sum()) / (len(a) - 2) / spread)
    return Interval.around(fit, -float(special.stdtrit(len(a) - 2, alpha / 2)) * error, alpha)


def exponent(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor, *, alpha: float) -> Interval:
    """Slope of ln y over ln x: the exponent b of y = a·x^b.

    :raises ArgumentError: a number that is not positive.

    >>> round(exponent([1.0, 10.0, 100.0], [1.0, 0.1, 0.01], alpha=0.01).middle, 12)
    -1.0
    """
    a, b = _points(x, y)
    if not bool((a > 0).all() and (b > 0).all()):
        raise ArgumentError("exponent: expected positive numbers, found one that is not")
    return slope(a.log(), b.log(), alpha=alpha)


def theil_sen(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> float:
    """The median of the slopes through all pairs of points; up to 29 % of outliers do not carry it away.

    Source: Theil 1950, Sen 1968 (papers).

    >>> theil_sen([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 2.0, 3.0, 90.0])
    1.0
    """
    a, b = _points(x, y)
    i, j = torch.triu_indices(len(a), len(a), offset=1)
    run = a[j] - a[i]
    slopes = (b[j] - b[i])[run != 0] / run[run != 0]
    if slopes.numel() == 0:
        raise ArgumentError("theil_sen: expected x that differ, found all equal")
    middle = slopes.sort().values
    half = len(middle) // 2
    return float(middle[half]) if len(middle) % 2 else float(middle[half - 1] + middle[half]) / 2


def _points(x: Sequence[float] | Tensor, y: Sequence[float] | Tensor) -> tuple[Tensor, Tensor]:
    a, b = torch.as_tensor(x, dtype=torch.float64), torch.as_tensor(y, dtype=torch.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 3:
        raise ArgumentError(
            f"slope: expected two lists of at least three numbers, found {tuple(a.shape)} and {tuple(b.shape)}"
        )
    return a, b
