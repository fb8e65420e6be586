"""Intervals for means of bounded draws and for distribution functions, valid at every sample size."""

from __future__ import annotations

import math

from torch import Tensor

from mmtheory.errors import ArgumentError

from ._interval import Interval


def hoeffding(mean: float, n: int, *, alpha: float, low: float = 0.0, high: float = 1.0) -> Interval:
    r"""Two-sided interval for the mean of n independent draws in [low, high].

    .. math:: \bar X \pm (high - low) \sqrt{\ln(2/\alpha) / (2n)}

    Source: Hoeffding 1963 (paper).

    >>> round(hoeffding(0.5, 200, alpha=0.05).width, 6)
    0.192065
    """
    check_draws("hoeffding", n, 1, alpha)
    return Interval.around(mean, (high - low) * math.sqrt(math.log(2 / alpha) / (2 * n)), alpha).clipped(low, high)


def empirical_bernstein(values: Tensor, *, alpha: float, low: float = 0.0, high: float = 1.0) -> Interval:
    r"""Two-sided interval for the mean of independent draws in [low, high], short where their variance is small.

    .. math:: \bar X \pm \sqrt{2\hat V\ln(4/\alpha)/n} + \tfrac{7 (high - low)\ln(4/\alpha)}{3(n-1)}

    Each side is the one-sided bound at alpha/2, hence ln(4/α).

    Shape: values [n], n >= 2.

    :raises ArgumentError: fewer than two draws, or a draw outside [low, high].

    Source: Maurer and Pontil 2009, Theorem 4 (paper).

    >>> import torch
    >>> round(empirical_bernstein(torch.full((1000,), 0.25), alpha=0.05).width, 6)
    0.02047
    """
    n = values.numel()
    check_draws("empirical_bernstein", n, 2, alpha)
    draws = values.double()
    least, most = float(draws.min()), float(draws.max())
    if not (low <= least and most <= high):
        raise ArgumentError(f"empirical_bernstein: expected draws in [{low}, {high}], found [{least}, {most}]")
    log = math.log(4 / alpha)
    radius = math.sqrt(2 * float(draws.var()) * log / n) + 7 * (high - low) * log / (3 * (n - 1))
    return Interval.around(float(draws.mean()), radius, alpha).clipped(low, high)


def dkw(n: int, *, alpha: float) -> float:
    r"""Radius of the uniform band around an empirical distribution function of n draws.

    .. math:: \sup_t |\hat F(t) - F(t)| \le \sqrt{\ln(2/\alpha)/(2n)}

    Source: Dvoretzky, Kiefer, Wolfowitz 1956 with Massart's constant 1990 (paper).

    >>> round(dkw(1000, alpha=0.05), 6)
    0.042947
    """
    check_draws("dkw", n, 1, alpha)
    return math.sqrt(math.log(2 / alpha) / (2 * n))


def check_draws(name: str, n: int, least: int, alpha: float) -> None:
    """:raises ArgumentError: too few draws, or alpha outside (0, 1)."""
    if n < least or not 0 < alpha < 1:
        raise ArgumentError(f"{name}: expected n >= {least} and alpha in (0, 1), found n = {n}, alpha = {alpha}")
