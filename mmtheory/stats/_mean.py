"""Intervals for means and rates from independent draws."""

from __future__ import annotations

import math

from scipy import special
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._interval import Interval


def clopper_pearson(count: int, n: int, *, alpha: float) -> Interval:
    """Exact two-sided interval for a probability after ``count`` successes in ``n`` independent trials.

    Source: Clopper and Pearson 1934 (paper).

    >>> clopper_pearson(0, 10, alpha=0.05).low
    0.0
    """
    if not (0 <= count <= n and n >= 1):
        raise ArgumentError(f"clopper_pearson: expected 0 <= count <= n and n >= 1, found count {count}, n {n}")
    low = 0.0 if count == 0 else float(special.betaincinv(count, n - count + 1, alpha / 2))
    high = 1.0 if count == n else float(special.betainccinv(count + 1, n - count, alpha / 2))
    return Interval(low, high, alpha)


def student(values: Tensor, *, alpha: float) -> Interval:
    """Student's interval for the mean of unbounded independent draws.

    Exact for normal draws and asymptotic otherwise: for heavy tails or few draws use an interval on a bounded quantity.

    Shape: values [n], n >= 2.

    >>> import torch
    >>> 2.0 in student(torch.tensor([1.0, 3.0]), alpha=0.5)
    True
    """
    n = values.numel()
    if n < 2:
        raise ArgumentError(f"student: expected at least 2 draws, found {n}")
    spread = values.double().std(correction=1).item() / math.sqrt(n)
    return Interval.around(values.double().mean().item(), -float(special.stdtrit(n - 1, alpha / 2)) * spread, alpha)
