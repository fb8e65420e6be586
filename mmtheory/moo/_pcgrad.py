"""PCGrad: gradient surgery, one conflicting pair after another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from mmtheory.rng import Stream

from ._checks import numbers
from ._lanes import ITEMS, in_lanes
from ._orders import checked_orders, drawn_orders, shared_order
from ._weighting import Stateful


@final
@dataclass(frozen=True)
class PCGrad(Stateful[int]):
    r"""Sum over i of g_i freed, in random order, from its conflict with each other gradient.

    .. math:: v \leftarrow v - \min(0, \langle v, g_j\rangle)\, g_j / \|g_j\|^2

    The state is the number of the step, from which the orders follow; two objectives need none. Non-conflict is guaranteed for two
    objectives only, where it equals twice UPGrad; the weights sum rather than average, as in the paper.

    :param stream: where the orders come from.

    Source: Yu et al. 2020 (paper).

    >>> PCGrad().weights(torch.tensor([[1.0, -0.5], [-0.5, 1.0]])).tolist()
    [1.5, 1.5]
    """

    name: ClassVar[str] = "pcgrad"
    degree: ClassVar[float | None] = 0.0
    symmetric: ClassVar[bool] = False

    stream: Stream = field(default_factory=lambda: Stream(0, ("pcgrad",)))

    def initial(self, gramian: Tensor) -> int:
        return 0

    def advance(self, gramian: Tensor, state: int) -> tuple[Tensor, int]:
        orders = drawn_orders(gramian.shape[-1], self.stream, state, gramian.device)
        return self.with_orders(gramian, orders), state + 1

    def with_orders(self, gramian: Tensor, orders: Tensor) -> Tensor:
        """The weights under given orders ``[*batch, m, m − 1]`` (row i lists the objectives other than i).

        :raises ArgumentError: orders of another shape.
        """
        m = gramian.shape[-1]
        orders = checked_orders(orders, gramian)
        one, turns = (numbers(gramian), numbers(orders)) if gramian.ndim == 2 else (None, None)
        if one is not None and turns is not None:
            return torch.from_numpy(_of_one(one, turns))
        if turns is None and (shared := shared_order(orders)) is not None and numbers(gramian) is not None:
            parts = [_of_many(in_lanes(G), shared) for G in gramian.reshape(-1, m, m).split(ITEMS)]
            return torch.cat(parts, -1).mT.reshape(gramian.shape[:-1])
        diagonal = gramian.diagonal(dim1=-2, dim2=-1)
        parts = torch.eye(m, dtype=gramian.dtype, device=gramian.device).expand(gramian.shape).clone()
        for k in range(m - 1):
            j = orders[..., k]
            slope = (parts * gramian.gather(-2, j[..., None].expand(gramian.shape))).sum(-1)
            length = diagonal.gather(-1, j)
            move = torch.where(length > 0, slope.clamp(max=0) / torch.where(length > 0, length, 1.0), 0.0)
            parts = parts.scatter_add(-1, j[..., None], -move[..., None])
        return parts.sum(-2)


def _of_many(G: Tensor, orders: list[list[int]]) -> Tensor:
    """The weights ``[m, n]`` of Gramians ``[m, m, n]`` with the same orders: whole vectors of items, nothing gathered."""
    m = len(G)
    lengths = G.diagonal().mT
    inverse = torch.where(lengths > 0, 1 / lengths, 0.0)
    total = torch.ones_like(lengths)
    for i, order in enumerate(orders):
        slopes = G[i].clone()
        for place, j in enumerate(order):
            move = slopes[j].clamp(max=0).mul_(inverse[j])
            total[j].sub_(move)
            if place < m - 2:
                slopes.addcmul_(G[j], move, value=-1)
    return total


def _of_one(G: np.ndarray, orders: np.ndarray) -> np.ndarray:
    """The same for one Gramian on the host; ``slopes`` are the rows' products with every gradient."""
    m = len(G)
    parts, slopes, rows = np.eye(m), G.copy(), np.arange(m)
    lengths = G.diagonal()
    divisors = np.where(lengths > 0, lengths, 1.0)
    for k in range(m - 1):
        j = orders[:, k]
        move = np.where(lengths[j] > 0, np.minimum(slopes[rows, j], 0.0) / divisors[j], 0.0)
        parts[rows, j] -= move
        slopes -= move[:, None] * G[j]
    return parts.sum(0)
