"""What a method may try: learning rates and values of its own strengths, at least as often for every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, parted, tunable

Tuned = Mapping[str, Mapping[str, Sequence[float]]]
"""Method → strength → values."""


def tries(method: str, lrs: Sequence[float], tuned: Tuned) -> list[dict[str, float]]:
    r"""Settings that a method may try, each a learning rate under ``lr`` and a value a tuned strength.

    With L learning rates and K combinations of strengths for the method that has most of them, every method tries at least L·K settings.
    That method tries the product; one with k < K combinations tries each of them at :math:`\lceil LK/k\rceil` learning rates, spaced
    evenly in the logarithm over the same range, so that a method without strengths never loses for want of tries.

    :raises ArgumentError: one learning rate alone beside tuned strengths: there is nothing that the other methods could try instead.

    >>> [t["lr"] for t in tries("joint", (1e-3, 1e-1), {})]
    [0.001, 0.1]
    >>> len(tries("joint", (1e-3, 1e-1), {"ogm": {"alpha": (0.1, 0.5, 0.9)}}))
    6
    """
    own = tuned.get(method, {})
    most = max((combinations(values) for values in tuned.values()), default=1)
    mine = combinations(own)
    if mine < most and len(lrs) < 2:
        raise ArgumentError(
            f"bench: expected two learning rates or more, over whose range {method} spends its {most} tries, found {lrs[0]:g} alone"
        )
    rates = list(lrs) if mine == most else np.geomspace(min(lrs), max(lrs), math.ceil(len(lrs) * most / mine)).tolist()
    return [{"lr": lr, **dict(zip(own, point, strict=True))} for point in product(*own.values()) for lr in rates]


def combinations(own: Mapping[str, Sequence[float]]) -> int:
    """How many there are; 1 for none."""
    return math.prod(len(values) for values in own.values())


def checked(tuned: Tuned, methods: Sequence[str]) -> None:
    """:raises ArgumentError: a method that is not trained, a strength that it lacks, a value out of its domain."""
    for method, own in tuned.items():
        if method not in methods:
            raise ArgumentError(f"bench: expected --tune of a method among {', '.join(methods)}, found {method!r}")
        kind = METHODS[parted(method)[0]]
        offered = tunable(kind)
        for name, values in own.items():
            if name not in offered:
                raise ArgumentError(
                    f"bench: expected --tune of a strength of {method} among {', '.join(offered) or 'none'}, found {name!r}"
                )
            for value in values:
                kind(**{name: value})
