"""The orders in which PCGrad and GradVac visit the other objectives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream

from ._checks import numbers

PAIR = 2


def drawn_orders(m: int, stream: Stream, step: int, device: torch.device) -> Tensor:
    """For each objective a random order of the others, ``[m, m − 1]``, the same for every Gramian of a batch (common random numbers)."""
    if m == PAIR:
        return torch.tensor(((1,), (0,))).to(device, non_blocking=True)  # there is only one other
    generator = stream.child("order", step).numpy()
    rows = [generator.permutation([j for j in range(m) if j != i]) for i in range(m)]
    return torch.from_numpy(np.stack(rows)).to(device, non_blocking=True)


def checked_orders(orders: Tensor, gramian: Tensor) -> Tensor:
    """Given orders ``[*batch, m, m − 1]``, broadcast to the Gramian's batch."""
    m = gramian.shape[-1]
    if orders.shape[-2:] != (m, m - 1) or orders.is_floating_point():
        raise ArgumentError(f"orders: expected whole numbers of shape [..., {m}, {m - 1}], found {list(orders.shape)}")
    return orders.to(gramian.device).expand(*gramian.shape[:-1], m - 1)


def shared_order(orders: Tensor) -> list[list[int]] | None:
    """The orders that a whole batch has in common, where the host may look and sees that they were only expanded."""
    seen = numbers(orders)
    if seen is None or any(orders.stride()[:-2]):
        return None
    first = seen[(0,) * (seen.ndim - 2)] if seen.size else None
    return None if first is None else first.tolist()
