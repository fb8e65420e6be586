"""Randomness as a value: a seed and a path of names, from which any number of independent generators follow."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

WIDE = 1 << 15
"""Numbers of one replicate from which on the device draws noise by a generator of its own, three times as fast as numpy's."""


@dataclass(frozen=True)
class Stream:
    """A seed and a path of names; equal streams give equal bits, on any machine and in any order of use.

    Take ``stream.child("<own name>")`` before drawing: two consumers of one stream would be correlated, two children never are.
    Names keep their type, so ``child(3)`` and ``child("3")`` differ, and ``child("a", "b")`` differs from ``child("a/b")``.

    >>> Stream(0).child("train", 3) == Stream(0, ("train", 3))
    True
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def child(self, *names: str | int) -> Stream:
        """The stream one or more names further down the path."""
        return Stream(self.seed, (*self.path, *names))

    @cached_property
    def key(self) -> int:
        """128 bits from BLAKE2b of the JSON text of seed and path (an injective encoding)."""
        text = json.dumps([self.seed, *self.path]).encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=16).digest(), "big")

    def numpy(self) -> np.random.Generator:
        """A fresh numpy generator at the beginning of this stream."""
        return np.random.Generator(np.random.SFC64(self.key))

    def torch(self, device: str | torch.device = "cpu") -> torch.Generator:
        """A fresh torch generator at the beginning of this stream; on a CPU torch makes 2³² different ones, on a GPU 2⁶³."""
        return torch.Generator(device=device).manual_seed(self.key & (2**63 - 1))

    def draws(self, replicates: range | None = None, *, device: str | torch.device = "cpu") -> Draws:
        """Named random tensors: of this stream, or stacked from ``child(r)`` for each replicate r in ``replicates``."""
        if replicates is None:
            return Draws((self,), (), device)
        return Draws(tuple(self.child(r) for r in replicates), (len(replicates),), device)

    def __str__(self) -> str:
        """The text that reproduces it, as failure reports print it."""
        return f"Stream({self.seed}, {self.path!r})"


class Draws:
    """Named random tensors ``[*batch_shape, *shape]`` in float64.

    Every name has a generator of its own and fills its tensor row by row, so that a replicate's numbers depend neither on how many
    replicates are drawn beside it, nor on the device, nor on which other names are drawn; and the first k rows of n are the k rows
    that asking for k would give. A name may be drawn once.

    >>> Stream(0).draws().normal("z", 5, 2)[:3].equal(Stream(0).draws().normal("z", 3, 2))
    True
    """

    def __init__(
        self,
        streams: Sequence[Stream] | Callable[[], Sequence[Stream]],
        batch_shape: tuple[int, ...],
        device: str | torch.device,
    ) -> None:
        self.batch_shape, self.device = batch_shape, torch.device(device)
        self._used: set[str | int] = set()
        if callable(streams):  # thousands of streams are not set up before somebody draws
            self._streams = streams
        else:
            self.streams = self._counted(streams)

    @cached_property
    def streams(self) -> tuple[Stream, ...]:
        """One stream a replicate."""
        return self._counted(self._streams())

    def _counted(self, streams: Sequence[Stream]) -> tuple[Stream, ...]:
        if len(streams) != math.prod(self.batch_shape):
            raise ArgumentError(
                f"draws: expected {math.prod(self.batch_shape)} streams for batch shape {self.batch_shape}, found {len(streams)}"
            )
        return tuple(streams)

    def fill(
        self,
        name: str | int,
        shape: tuple[int, ...],
        draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
    ) -> Tensor:
        """``draw(generator, shape)`` for each replicate's own generator of that name, stacked on the batch shape."""
        self._once(name)
        rows = [np.asarray(draw(stream.child(name).numpy(), shape)) for stream in self.streams]
        stacked = np.stack(rows).reshape((*self.batch_shape, *shape)) if len(rows) > 1 or self.batch_shape else rows[0]
        # From ordinary memory the numbers are taken before the call returns; nobody has to wait until they have arrived.
        return torch.from_numpy(stacked).to(self.device, non_blocking=True)

    def normal(self, name: str | int, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return self.fill(name, shape, lambda g, s: g.standard_normal(s))

    def uniform(self, name: str | int, *shape: int) -> Tensor:
        """Uniform numbers on [0, 1)."""
        return self.fill(name, shape, lambda g, s: g.random(s))

    def noise(self, name: str | int, *shape: int, dtype: torch.dtype) -> Tensor:
        """Standard normal numbers of a type, for gradients and weights: ``WIDE`` numbers a replicate and more are drawn on the device.

        Those depend on the kind of device, and the first k rows of n are other numbers than k rows alone; all else holds for them too.
        """
        if math.prod(shape) < WIDE:
            return self.normal(name, *shape).to(dtype)
        return self._on_device(name, shape, dtype, lambda row, generator: row.normal_(generator=generator))

    def chances(self, name: str | int, *shape: int, dtype: torch.dtype) -> Tensor:
        """Uniform numbers on [0, 1) of a type; drawn on the device where ``noise`` is."""
        if math.prod(shape) < WIDE:
            return (
                self.uniform(name, *shape).to(dtype).clamp_(max=1 - torch.finfo(dtype).eps / 2)
            )  # never rounded up to 1
        return self._on_device(name, shape, dtype, lambda row, generator: row.uniform_(generator=generator))

    def _on_device(
        self, name: str | int, shape: tuple[int, ...], dtype: torch.dtype, draw: Callable[[Tensor, torch.Generator], object]
    ) -> Tensor:  # fmt: skip
        """``draw`` into each replicate's own row, by a generator of its own of that name."""
        self._once(name)
        drawn = torch.empty((len(self.streams), *shape), dtype=dtype, device=self.device)
        for row, stream in zip(drawn, self.streams, strict=True):
            draw(row, stream.child(name).torch(self.device))
        return drawn.view(*self.batch_shape, *shape)

    def _once(self, name: str | int) -> None:
        if name in self._used:
            raise ArgumentError(
                f"draws: the name {name!r} was drawn already; a second use would repeat the same numbers"
            )
        self._used.add(name)

    def integers(self, name: str | int, high: int, *shape: int) -> Tensor:
        """Integers uniform on {0, …, high − 1}, int64."""
        return self.fill(name, shape, lambda g, s: g.integers(high, size=s))

    def signs(self, name: str | int, *shape: int) -> Tensor:
        """Rademacher signs, −1.0 or +1.0."""
        return self.integers(name, 2, *shape).to(torch.float64) * 2 - 1
