"""What the batched decomposition solver works on: the two marginals, and the Newton matrix at a point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


def total(values: Tensor, axis: int) -> Tensor:
    """The sum over one short axis, as a sum of slices: an order of magnitude faster than a reduction over two or three numbers."""
    if axis in {-1, values.dim() - 1}:
        return values @ values.new_ones(values.shape[-1])
    first, *rest = values.unbind(axis)
    for part in rest:
        first = first + part
    return first


@dataclass(frozen=True)
class Marginals:
    r"""What the decomposition of a flat batch of tables depends on beyond I(X1X2;Y): the two source–target marginals.

    A cell (x1, x2, y) can carry mass only where both marginals do, and inside that support the product coupling is positive, so the
    reduced problem satisfies Slater's condition and its dual is attained, however many zeros the table has.

    Shape: first [n, y, x1], second [n, y, x2].
    """

    first: Tensor
    second: Tensor

    @classmethod
    def of(cls, joint: Tensor) -> Marginals:
        """The marginals of tables [n, x1, x2, y]."""
        return cls(joint.sum(-2).mT, joint.sum(-3).mT)

    def rows(self, index: Tensor | slice) -> Marginals:
        """Some of the tables."""
        return Marginals(self.first[index], self.second[index])

    @cached_property
    def support(self) -> Tensor:
        """Where a coupling may carry mass, [n, x1, x2, y]."""
        return (self.first > 0).mT[:, :, None, :] & (self.second > 0).mT[:, None, :, :]

    @cached_property
    def barred(self) -> Tensor:
        """0 on the support and −∞ off it, to be added to logarithms."""
        return torch.zeros_like(self.support, dtype=self.first.dtype).masked_fill(~self.support, -torch.inf)

    @cached_property
    def cells(self) -> Tensor:
        """Where any class may carry mass, [n, x1, x2]."""
        return self.support.any(-1)

    @cached_property
    def product(self) -> Tensor:
        """The coupling under which the sources are independent given y."""
        label = self.first.sum(-1)
        share = torch.where(label > 0, 1 / label.clamp(min=1e-300), 0.0)
        return torch.einsum("nyi,nyj,ny->nijy", self.first, self.second, share)


class NewtonMatrix:
    """The Newton matrix at one point, factored: a eliminated, then a Cholesky factor for b."""

    def __init__(self, marginals: Marginals, share: Tensor, mass: Tensor, slack: Tensor) -> None:
        self.marginals, self.share = marginals, share
        self.fixed_a = marginals.first <= 0
        self.fixed_b = marginals.second <= 0
        # a_y + c and b_y − c are the same point: pin the b of each class's likeliest symbol.
        self.fixed_b = self.fixed_b.scatter(-1, marginals.second.argmax(-1, keepdim=True), value=True)
        n, k, columns = marginals.second.shape
        weight = mass / slack - mass
        block = weight[..., None, None] * share[..., :, None] * share[..., None, :]
        block.diagonal(dim1=-2, dim2=-1).add_(mass[..., None] * share)
        own_a = self._pinned(total(block, 2), self.fixed_a.mT)
        own_b = self._pinned(total(block, 1), self.fixed_b.mT)
        free = (~self.fixed_a).mT[:, :, None, :, None] & (~self.fixed_b).mT[:, None, :, None, :]
        cross = torch.where(free, block, 0.0).transpose(2, 3).reshape(n, -1, k, columns * k)
        self.own_a = torch.linalg.cholesky_ex(own_a)[0]
        self.half = torch.linalg.solve_triangular(self.own_a, cross, upper=False).flatten(1, 2)
        matrix = -(self.half.mT @ self.half)
        flat = torch.arange(columns, device=share.device)
        matrix.view(n, columns, k, columns, k)[:, flat, :, flat, :] += own_b.transpose(0, 1)
        matrix.diagonal(dim1=-2, dim2=-1).mul_(1 + 1e-14).add_(1e-15)
        self.factor = torch.linalg.cholesky_ex(matrix)[0]

    @staticmethod
    def _pinned(block: Tensor, fixed: Tensor) -> Tensor:
        """The block with pinned variables decoupled."""
        kept = torch.where(fixed[..., :, None] | fixed[..., None, :], 0.0, block)
        kept.diagonal(dim1=-2, dim2=-1).add_(fixed.to(block.dtype)).mul_(1 + 1e-14).add_(1e-15)
        return kept

    def solve(self, force: Tensor) -> tuple[Tensor, Tensor]:
        """(da, db) for the force of the cells' multipliers."""
        pull = force[..., None] * self.share
        ga = torch.where(self.fixed_a, 0.0, self.marginals.first - total(pull, -2).mT).mT
        gb = torch.where(self.fixed_b, 0.0, self.marginals.second - total(pull, -3).mT).mT
        n, columns, k = gb.shape
        inner = torch.linalg.solve_triangular(self.own_a, ga[..., None], upper=False).flatten(1)[..., None]
        right = gb.reshape(n, -1, 1) - self.half.mT @ inner
        db = torch.cholesky_solve(right, self.factor)
        back = (inner - self.half @ db).reshape(n, -1, k, 1)
        da = torch.linalg.solve_triangular(self.own_a.mT, back, upper=True)[..., 0]
        return da.mT, db.reshape(n, columns, k).mT
