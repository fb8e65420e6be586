"""Random numbers of a step, drawn for many steps at once: setting a generator up costs as much as a thousand numbers of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from mmtheory.rng import Draws, Stream

NUMBERS = 1024
"""Numbers of one replicate that are drawn at once, where a step wants fewer."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@final
@dataclass(frozen=True)
class Source:
    """Named random tensors of each replicate under a path of names.

    :param replicates: children of the stream, one a replicate; None for the stream itself and batch shape ().
    """

    stream: Stream
    replicates: Sequence[int] | None
    device: torch.device

    def __call__(self, *names: str | int) -> Draws:
        if self.replicates is None:
            return Draws((self.stream.child(*names),), (), self.device)
        streams = tuple(self.stream.child(r, *names) for r in self.replicates)
        return Draws(streams, (len(streams),), self.device)


@final
class Blocks:
    """Numbers for the next steps of an epoch, kept until those steps ask for them.

    How many steps share a generator depends on the shape alone, so a replicate's numbers do not depend on who trains beside it.

    :param draws: not a trainer's own method: that would tie the two together, and what they hold, until somebody collects garbage.
    """

    def __init__(self, draws: Source) -> None:
        self.draws = draws
        self._kept: dict[object, tuple[object, Tensor]] = {}

    def take(
        self, epoch: int, index: int, number: int, name: str | int, shape: tuple[int, ...], kind: str, draw: Draw
    ) -> Tensor:
        """One step's numbers, [*batch, *shape]."""
        steps = max(1, NUMBERS // max(1, math.prod(shape)))
        block, place = divmod(index, steps)
        key, when = (number, name, shape, kind), (epoch, block)
        if key not in self._kept or self._kept[key][0] != when:
            drawn = self.draws("steps", epoch, block, number, kind, *shape).fill(name, (steps, *shape), draw)
            self._kept[key] = when, drawn
        drawn = self._kept[key][1]
        return drawn.select(drawn.ndim - len(shape) - 1, place).contiguous()


@final
class StepDraws(Draws):
    """Named random tensors of one pass of one step; only what is drawn is set up."""

    def __init__(
        self, blocks: Blocks, like: tuple[int, ...], device: torch.device, epoch: int, index: int, number: int
    ) -> None:
        super().__init__(lambda: blocks.draws("step", epoch, index, number).streams, like, device)
        self._blocks, self._when = blocks, (epoch, index, number)

    def normal(self, name: str | int, *shape: int) -> Tensor:
        return self._take(name, shape, "normal", lambda g, s: g.standard_normal(s))

    def uniform(self, name: str | int, *shape: int) -> Tensor:
        return self._take(name, shape, "uniform", lambda g, s: g.random(s))

    def integers(self, name: str | int, high: int, *shape: int) -> Tensor:
        return self._take(name, shape, f"below {high}", lambda g, s: g.integers(high, size=s))

    def _take(self, name: str | int, shape: tuple[int, ...], kind: str, draw: Draw) -> Tensor:
        self._once(name)
        return self._blocks.take(*self._when, name, shape, kind, draw)
