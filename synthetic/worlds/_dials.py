"""Dials with one value a modality."""

from __future__ import annotations

from typing import TypeVar

from mmtheory.errors import ArgumentError

LETTERS = "abcdefgh"
V = TypeVar("V", int, float)


def names(count: int, world: str) -> tuple[str, ...]:
    """The first ``count`` letters, from one modality to eight.

    :raises ArgumentError: another number of modalities.
    """
    if not 1 <= count <= len(LETTERS):
        raise ArgumentError(f"{world}: expected from 1 to {len(LETTERS)} modalities, found {count}")
    return tuple(LETTERS[:count])


def per_modality(values: tuple[V, ...], default: tuple[V, ...], count: int, dial: str) -> tuple[V, ...]:
    """One value a modality; a single value, or the dial's untouched default, is meant for all of them.

    :raises ArgumentError: another length.

    >>> per_modality((1, 1), (1, 1), 3, "dims")
    (1, 1, 1)
    """
    if len(values) != count and (len(values) == 1 or values == default):
        return (values[0],) * count
    if len(values) != count:
        raise ArgumentError(f"{dial}: expected one value for each of the {count} modalities, found {len(values)}")
    return values
