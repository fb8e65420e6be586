"""Shapley values over modalities, by enumeration of every subset."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol, Self, TypeVar

from mmtheory.errors import ArgumentError


class Worth(Protocol):
    """What a coalition can be worth: a float, an Interval, a tensor."""

    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __rmul__(self, factor: float, /) -> Self: ...


V = TypeVar("V", bound=Worth)


def subsets(names: Iterable[str]) -> Iterator[frozenset[str]]:
    """Every non-empty subset, small ones first.

    >>> [sorted(s) for s in subsets("ab")]
    [['a'], ['b'], ['a', 'b']]
    """
    every = tuple(names)
    return (frozenset(c) for k in range(1, len(every) + 1) for c in itertools.combinations(every, k))


def shapley(worth: Mapping[frozenset[str], V], players: Sequence[str]) -> dict[str, V]:
    r"""Shapley value of each player.

    .. math:: \phi_m = \sum_{S \not\ni m} \frac{|S|!\,(M-|S|-1)!}{M!} \,[v(S \cup m) - v(S)]

    Intervals keep their numerical error (and add their alphas); M = 8 is 256 subsets.

    :param worth: the worth of every subset, the empty one included.
    :raises ArgumentError: a subset without a worth.

    Source: Shapley 1953 (paper).

    >>> game = {frozenset(): 0.0, frozenset("a"): 1.0, frozenset("b"): 0.0, frozenset("ab"): 3.0}
    >>> shapley(game, ("a", "b"))
    {'a': 2.0, 'b': 1.0}
    """
    if missing := [s for s in (frozenset[str](), *subsets(players)) if s not in worth]:
        raise ArgumentError(f"shapley: expected a worth for every subset, found none for {sorted(missing[0])}")
    m = len(players)
    values: dict[str, V] = {}
    for player in players:
        terms: list[V] = []
        for rest in (frozenset[str](), *subsets(p for p in players if p != player)):
            weight = math.factorial(len(rest)) * math.factorial(m - len(rest) - 1) / math.factorial(m)
            terms.append(weight * (worth[rest | {player}] - worth[rest]))
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        values[player] = total
    return values
