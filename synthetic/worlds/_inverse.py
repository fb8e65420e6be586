"""Inverse design: from what a world shall answer to the dial that makes it answer so."""

from __future__ import annotations

import math
from collections.abc import Callable

from mmtheory.errors import InfeasibleError


def bisected(rising: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where an increasing function reaches ``target``, to the last bits.

    >>> bisected(lambda v: v**2, 4.0, 0.0, 8.0)
    2.0
    """
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > target else (middle, high)
    return (low + high) / 2


def inverse(monotone: Callable[[float], float], target: float, low: float, high: float, *, what: str) -> float:
    """The dial between ``low`` and ``high`` at which a continuous function, rising or falling, has this value.

    The values at the two ends are computed first: they bracket the target, or there is no such world.

    :param what: the quantity, for the message.
    :raises InfeasibleError: a target that the ends do not bracket, with the interval that they span.

    >>> inverse(lambda v: 9 - v, 4.0, 0.0, 8.0, what="a difference")
    5.0
    """
    start, end = monotone(low), monotone(high)
    feasible(what, target, min(start, end), max(start, end))
    if start <= end:
        return bisected(monotone, target, low, high)
    return bisected(lambda value: -monotone(value), -target, low, high)


def feasible(what: str, target: float, low: float, high: float, *, attained: bool = True) -> float:
    """The target itself, if it lies in [low, high].

    :param attained: whether ``high`` itself can be had.
    :raises InfeasibleError: it does not, with the interval.

    >>> feasible("an information", 0.5, 0.0, 1.0)
    0.5
    """
    if not low <= target <= high or (not attained and target == high) or math.isnan(target):
        bracket = "]" if attained else ")"
        raise InfeasibleError(f"from_targets: expected {what} in [{low:.6g}, {high:.6g}{bracket}, found {target:.6g}")
    return target
