"""Many claims at once: Holm's step-down correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmtheory.errors import ArgumentError


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: rejecting those at most alpha keeps the family-wise error at alpha, under any dependence.

    :raises ArgumentError: a p-value outside [0, 1].

    Source: Holm 1979 (paper).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    if bad := [p for p in p_values if not 0 <= p <= 1]:
        raise ArgumentError(f"holm: expected p-values in [0, 1], found {bad[0]}")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = worst
    return adjusted


def rejected(p_values: Mapping[str, float], *, alpha: float) -> list[str]:
    """The names that Holm rejects at family-wise level alpha, in the order given.

    >>> rejected({"a": 0.001, "b": 0.2}, alpha=0.05)
    ['a']
    """
    return [name for name, p in zip(p_values, holm(list(p_values.values())), strict=True) if p <= alpha]
