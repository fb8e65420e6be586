"""Protocol H: judging a bound that may fail with probability delta by the number of failures in N independent replicates."""

from __future__ import annotations

from scipy import special

from mmtheory.errors import ArgumentError


def _at_least(n: int, rate: float, count: int) -> float:
    """P(Bin(n, rate) >= count)."""
    return 1.0 if count <= 0 else 0.0 if count > n else float(special.betainc(count, n - count + 1, rate))


def gate(n: int, delta: float, alpha: float) -> int:
    """The least number of failures at which validity is rejected: the least k with P(Bin(n, delta) >= k) <= alpha.

    A bound whose true failure probability is at most delta is rejected with probability at most alpha; n + 1 means that no count can
    reject it.

    :raises ArgumentError: n < 1, or delta or alpha outside (0, 1).

    Source: theory H3, derived here.

    >>> [gate(1000, 0.05, a) for a in (1e-2, 1e-3, 1e-4)]
    [68, 74, 78]
    """
    if n < 1 or not 0 < delta < 1 or not 0 < alpha < 1:
        raise ArgumentError(f"gate: expected n >= 1, delta and alpha in (0, 1), found {n}, {delta}, {alpha}")
    low, high = 0, n + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _at_least(n, delta, middle) <= alpha else (middle + 1, high)
    return low


def gate_power(n: int, delta: float, alpha: float, rate: float) -> float:
    """The probability of rejecting a bound whose true failure probability is ``rate``.

    >>> round(gate_power(1000, 0.05, 1e-3, 0.09), 2)
    0.97
    """
    return _at_least(n, rate, gate(n, delta, alpha))


def gate_size(n: int, delta: float, alpha: float) -> float:
    """The probability of rejecting a bound that fails with probability exactly delta: at most alpha.

    >>> gate_size(1000, 0.05, 1e-3) <= 1e-3
    True
    """
    return gate_power(n, delta, alpha, delta)
