"""Memories of weightings as tensors: what a stateful weighting carries, taken apart for a checkpoint and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def unfolded(state: object) -> list[Tensor]:
    """The tensors of a state: itself, a number, or a named tuple of such; None has none.

    >>> [t.tolist() for t in unfolded((3, torch.ones(2)))]
    [3, [1.0, 1.0]]
    """
    if state is None:
        return []
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, int | float):
        return [torch.tensor(state)]
    if isinstance(state, tuple):
        return [leaf for part in cast("tuple[object, ...]", state) for leaf in unfolded(part)]
    raise ArgumentError(f"state: expected tensors, numbers or tuples of them, found {type(state).__name__}")


def folded(like: object, leaves: Sequence[Tensor]) -> Any:  # noqa: ANN401 (whatever the weighting's state is)
    """A state built like another one from the tensors that ``unfolded`` gave."""
    rest = list(leaves)
    state = _taken(like, rest)
    if rest:
        raise ArgumentError(f"state: expected {len(leaves) - len(rest)} tensors, found {len(leaves)}")
    return state


def _taken(like: object, leaves: list[Tensor]) -> object:
    if like is None:
        return None
    if isinstance(like, Tensor):
        return leaves.pop(0).clone()
    if isinstance(like, int | float):
        return type(like)(leaves.pop(0).item())
    parts = [_taken(part, leaves) for part in cast("tuple[object, ...]", like)]
    made = getattr(type(like), "_make", tuple)
    return made(parts)
