"""Random tables for the claims: independent powers of exponential variables, normalised."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtheory.rng import Stream


def random_tables(stream: Stream, n: int, shape: tuple[int, ...], *, spike: float = 1.0) -> Tensor:
    """n tables [n, *shape]; spike 1 is uniform on the simplex, larger values put most of the mass in few cells.

    >>> random_tables(Stream(0), 3, (2, 2)).shape
    torch.Size([3, 2, 2])
    """
    mass = (-(1 - stream.draws().uniform("cells", n, *shape)).log()) ** spike
    return mass / mass.sum(tuple(range(1, mass.dim())), keepdim=True)


def redrawn(table: Tensor, n: int, stream: Stream, replicates: int) -> Tensor:
    """Empirical tables of n samples each, one a replicate, [replicates, *table.shape]."""
    edges = table.flatten().cumsum(0)
    cell = torch.searchsorted(edges / edges[-1], stream.draws().uniform("cells", replicates, n), right=True)
    count = table.new_zeros(replicates, table.numel())
    count.scatter_add_(1, cell, table.new_ones(()).expand_as(cell))
    return (count / n).reshape(-1, *table.shape)
