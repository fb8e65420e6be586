"""The laws of the table world: one function a gate, from dials to a tensor [x_1, …, x_M, y]."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._enumerated import MOST_CELLS


def _gate(count: int, classes: int, rule: Callable[[tuple[int, ...]], int]) -> Tensor:
    """Independent fair bits and y a function of them."""
    table = torch.zeros(*[2] * count, classes, dtype=torch.float64)
    for bits in itertools.product(range(2), repeat=count):
        table[(*bits, rule(bits))] = 0.5**count
    return table


def _copies(count: int) -> Tensor:
    """Every modality is the label."""
    table = torch.zeros(*[2] * (count + 1), dtype=torch.float64)
    table[(0,) * (count + 1)] = table[(1,) * (count + 1)] = 0.5
    return table


GATES: Mapping[str, Callable[[int], Tensor]] = MappingProxyType({
    "and": lambda m: _gate(m, 2, lambda bits: int(all(bits))),
    "or": lambda m: _gate(m, 2, lambda bits: int(any(bits))),
    "xor": lambda m: _gate(m, 2, lambda bits: sum(bits) % 2),
    "unq": lambda m: _gate(m, 2, lambda bits: bits[0]),
    "sum": lambda m: _gate(m, m + 1, sum),
    "rdn": _copies,
})  # fmt: skip


def channels(flip: tuple[float, ...]) -> Tensor:
    """A fair bit y seen through independent binary symmetric channels."""
    table = torch.full((2,), 0.5, dtype=torch.float64)
    for e in reversed(flip):
        channel = torch.tensor([[1 - e, e], [e, 1 - e]], dtype=torch.float64)
        table = channel.reshape(2, *[1] * (table.dim() - 1), 2) * table
    return table


def composite(bits: tuple[int, ...]) -> Tensor:
    """Independent fair bits of the label: some seen by all, some by one modality alone, some only as the parity of one bit a modality."""
    return subsystems(tuple((kind, 0.0) for kind, count in enumerate(bits) for _ in range(count)), len(bits) - 2)


def subsystems(parts: tuple[tuple[int, float], ...], count: int) -> Tensor:
    """Independent one-bit subsystems (kind, flip): kind 0 is seen by all, m by modality m alone, count + 1 by the parity; each through one flip."""
    sizes = [1] * (count + 1)
    for kind, _ in parts:
        for m in range(count):
            sizes[m] *= 2 if kind in {0, m + 1, count + 1} else 1
        sizes[count] *= 2
    if math.prod(sizes) > MOST_CELLS:
        raise ArgumentError(
            f"table: expected at most {MOST_CELLS} cells, found {math.prod(sizes)} for {len(parts)} bits"
        )
    table = torch.ones(*[1] * (count + 1), dtype=torch.float64)
    for kind, flip in parts:
        bit = _subsystem(kind, flip, count)
        pairs = [v for a, b in zip(table.shape, bit.shape, strict=True) for v in (a, b)]
        grown = table.reshape([v for a in table.shape for v in (a, 1)]) * bit.reshape(
            [v for b in bit.shape for v in (1, b)]
        )
        table = grown.reshape([a * b for a, b in zip(pairs[::2], pairs[1::2], strict=True)])
    return table


def _subsystem(kind: int, flip: float, count: int) -> Tensor:
    """One bit of the label and what the modalities see of it."""
    channel = torch.tensor([[1 - flip, flip], [flip, 1 - flip]], dtype=torch.float64)
    if kind == count + 1:
        return GATES["xor"](count) @ channel
    shape = [2 if kind in {0, m + 1} else 1 for m in range(count)]
    if kind:
        return (channel / 2).reshape(*shape, 2)
    seen = torch.zeros(*shape, 2, dtype=torch.float64)
    for x in range(2):
        seen[(x,) * count] = channel[x] / 2
    return seen


def noisy(table: Tensor, noise: float) -> Tensor:
    """The label replaced, with this probability, by one of the others, all alike."""
    classes = table.shape[-1]
    if not 0 <= noise <= 1 - 1 / classes:
        raise ArgumentError(f"label noise: expected label_noise in [0, {1 - 1 / classes:g}], found {noise}")
    if noise == 0:
        return table
    total = table.sum(-1, keepdim=True)
    return table * (1 - noise) + (total - table) * noise / (classes - 1)
