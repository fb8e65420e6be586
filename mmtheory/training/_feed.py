"""From a data set and an order of its samples to mini-batches: a few large gathers instead of many small ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError

BLOCK = 1 << 19
"""Bytes of several mini-batches that are gathered at once: what stays in a core's cache until it is used."""


class Feeding(Protocol):
    """Whatever gives a trainer its mini-batches."""

    def batches(self, order: Tensor, size: int, *, drop_last: bool = False) -> Iterator[Batch]:
        """The samples ``order`` [*batch, n_epoch] names, ``size`` at a time."""
        ...


@final
class Feed:
    """Mini-batches of a data set [*batch, n, …] (one a replicate) or [n, …] (one for all).

    :param batch_shape: the replicate axes of the orders that will be asked for.
    """

    def __init__(self, data: Batch, batch_shape: Sequence[int]) -> None:
        self.batch_shape = tuple(batch_shape)
        self.own = data.y.ndim > 1
        if self.own and tuple(data.batch_shape) != self.batch_shape:
            raise ArgumentError(
                f"training data: expected replicate axes {self.batch_shape} or none, found {tuple(data.batch_shape)}"
            )
        self.n = data.n
        lead = data.y.ndim
        self.x = {m: v.reshape(-1, *v.shape[lead:]) for m, v in data.x.items()}
        self.present = {m: v.reshape(-1) for m, v in data.present.items()}
        self.y = data.y.reshape(-1)
        parts = (*self.x.values(), *self.present.values(), self.y)
        self.bytes = sum(v.element_size() * v[:1].numel() for v in parts)

    def batches(self, order: Tensor, size: int, *, drop_last: bool = False) -> Iterator[Batch]:
        """The samples ``order`` [*batch, n_epoch] names, ``size`` at a time."""
        n, replicates = order.shape[-1], max(1, order[..., 0].numel())
        n = n - n % size if drop_last else n
        flat = self._flat(order)
        span = size * max(1, BLOCK // (self.bytes * size * replicates))
        for start in range(0, n, span):
            block = self.gather(flat[..., start : min(start + span, n)])
            if block.n <= size:
                yield block
                continue
            for i in range(0, block.n, size):
                yield block.rows(slice(i, i + size))

    def gather(self, flat: Tensor) -> Batch:
        """The rows ``flat`` [*batch, b] of the data as it lies in memory, by one gather a tensor."""
        index = flat.reshape(-1)

        def pick(part: Tensor) -> Tensor:
            return part.index_select(0, index).view(*flat.shape, *part.shape[1:])

        return Batch(
            {m: pick(v) for m, v in self.x.items()}, pick(self.y), {m: pick(v) for m, v in self.present.items()}
        )

    def _flat(self, order: Tensor) -> Tensor:
        if not self.own:
            return order
        first = torch.arange(order[..., 0].numel(), device=order.device).view(*order.shape[:-1], 1) * self.n
        return order + first


def gather(data: Batch, index: Tensor) -> Batch:
    """The samples ``index`` [*batch, b] of a data set [*batch, n, …] or [n, …]."""
    feed = Feed(data, index.shape[:-1])
    return next(feed.batches(index, index.shape[-1]))


def placed(data: Batch, device: torch.device, *, inputs: bool = True) -> Batch:
    """The data set on a device (its inputs only if asked for); itself where it is there already."""
    moving = data.x.values() if inputs else ()
    if all(part.device == device for part in (*moving, *data.present.values(), data.y)):
        return data
    x = {m: v.to(device) for m, v in data.x.items()} if inputs else data.x
    return Batch(x, data.y.to(device), {m: v.to(device) for m, v in data.present.items()}, data.ids)


def spread_over(data: Batch, batch_shape: Sequence[int]) -> Batch:
    """A data set with the replicate axes in front, without a copy."""
    if data.batch_shape == torch.Size(batch_shape):
        return data

    def wide(part: Tensor) -> Tensor:
        return part.expand(*batch_shape, *part.shape)

    return Batch({m: wide(v) for m, v in data.x.items()}, wide(data.y), {m: wide(v) for m, v in data.present.items()})
