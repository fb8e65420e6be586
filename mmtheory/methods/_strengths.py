"""What a strength may be: a number in its range, or one number a replicate."""

from __future__ import annotations

import math
from typing import get_type_hints

from torch import Tensor

from mmtheory.errors import ArgumentError

from ._method import Method, Strength


def ranged(name: str, value: Strength, low: float = 0.0, high: float = math.inf) -> Strength:
    """The strength itself, if it is in [low, high]; tensors are the caller's to check, which would wait for the device.

    :raises ArgumentError: a number outside, NaN included.

    >>> ranged("alpha", 0.5)
    0.5
    """
    if not isinstance(value, Tensor) and not low <= value <= high:
        raise ArgumentError(f"{name}: expected a number in [{low:g}, {high:g}], found {value}")
    return value


def epochs(name: str, value: int) -> int:
    """The number of epochs itself, if it is one.

    :raises ArgumentError: a negative number.

    >>> epochs("warmup", 0)
    0
    """
    if value < 0:
        raise ArgumentError(f"{name}: expected a number of epochs >= 0, found {value}")
    return value


def off(value: Strength) -> bool:
    """Whether a strength is the number zero, so that its term is left out (a tensor of zeros is multiplied through)."""
    return not isinstance(value, Tensor) and value == 0


def nowhere(values: Tensor) -> bool:
    """Whether all are zero, where the host may know: on a CPU; elsewhere the answer is no, and zeros are multiplied through."""
    return values.device.type == "cpu" and not bool(values.any())


def tunable(method: type[Method]) -> tuple[str, ...]:
    """Names of the strengths that may differ from replicate to replicate.

    >>> from mmtheory.methods import METHODS
    >>> tunable(METHODS["pmr"]), tunable(METHODS["joint"])
    (('alpha', 'mu'), ())
    """
    return tuple(name for name, kind in get_type_hints(method.__init__).items() if kind == Strength)
