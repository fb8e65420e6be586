"""Rows and Gramians among processes: rows are averaged first, because the mean of Gramians is not the Gramian of the mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from ._gramian import GramianAccumulator, Row, unbiased_gramian


def gramian_of(block: Sequence[Sequence[Row]], like: Tensor) -> Tensor:
    """The Gramian of a block's rows; ``like`` is one of the losses, whose shape and device it takes."""
    total = GramianAccumulator(len(block[0]) if block else 1, tuple(like.shape), like.device)
    for tensor in block:
        total.add(tensor)
    return total.total


def agreed(rows: list[list[list[Row]]], parameters: Sequence[Sequence[Tensor]], group: dist.ProcessGroup) -> None:
    """Give every process a row, if only of zeros, wherever some process has one: a modality may be missing from one batch alone."""
    flat = [
        (tensor, p) for block, ps in zip(rows, parameters, strict=True) for tensor, p in zip(block, ps, strict=True)
    ]
    present = torch.tensor([[row is not None for row in tensor] for tensor, _ in flat], dtype=torch.uint8)
    present = present.to(flat[0][1].device)
    dist.all_reduce(present, op=dist.ReduceOp.MAX, group=group)
    for (tensor, parameter), needed in zip(flat, present.tolist(), strict=True):
        for i, row in enumerate(tensor):
            if row is None and needed[i]:
                tensor[i] = torch.zeros_like(parameter)


def reduced(block: list[list[Row]], like: Tensor, group: dist.ProcessGroup | None, *, unbiased: bool) -> Tensor:
    """The block's Gramian; with a group, of its rows averaged in place, or the U-statistic over the processes (not clipped)."""
    if group is None:
        return gramian_of(block, like)
    local = gramian_of(block, like) if unbiased else None
    size = dist.get_world_size(group)
    for tensor in block:
        for i, row in enumerate(tensor):
            if row is not None:
                # An expanded row has no memory of its own to reduce into.
                shared = row if row.is_contiguous() else row.clone(memory_format=torch.contiguous_format)
                dist.all_reduce(shared, group=group)
                tensor[i] = shared.div_(size)
    mean = gramian_of(block, like)
    if local is None:
        return mean
    dist.all_reduce(local, group=group)
    # Only the sum of the local Gramians is known, which is all that the U-statistic needs.
    return unbiased_gramian(mean, torch.stack([local, *([torch.zeros_like(local)] * (size - 1))]))
