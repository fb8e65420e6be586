"""Sums of squares and products: all that a linear learner sees of its data, taken from data or drawn from their law."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws


@dataclass(frozen=True)
class Scatter:
    r"""XᵀX, Xᵀy and yᵀy of n samples: least squares, ridge regression and their training errors depend on the data through these alone.

    Shape: ``gram`` [*batch_shape, d, d], ``cross`` [*batch_shape, d], ``square`` [*batch_shape].

    >>> s = Scatter.of(torch.tensor([[1.0], [2.0]]), torch.tensor([2.0, 4.0]))
    >>> s.least_squares().tolist(), s.error(s.least_squares()).item()
    ([2.0], 0.0)
    """

    n: int
    gram: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor) -> Scatter:
        """Of data. Shape: x [*batch_shape, n, d], y [*batch_shape, n].

        :raises ArgumentError: shapes that disagree.
        """
        if x.shape[:-1] != y.shape:
            raise ArgumentError(
                f"scatter: expected x [*b, n, d] and y [*b, n], found {tuple(x.shape)}, {tuple(y.shape)}"
            )
        x, y = x.double(), y.double()
        return cls(y.shape[-1], x.mT @ x, (y[..., None, :] @ x)[..., 0, :], (y * y).sum(-1))

    @classmethod
    def drawn(cls, covariance: Tensor, n: int, draws: Draws, *, count: Sequence[int] = ()) -> Scatter:
        r"""Of n centred Gaussian samples that nobody draws: d² numbers instead of n·d, and exactly the same law.

        .. math:: [X\;y]^\top[X\;y] = L A A^\top L^\top, \qquad LL^\top = \Sigma,\quad
                  A_{ii}^2 \sim \chi^2_{n-i},\ A_{ij} \sim N(0,1)\ (i > j),\ i = 0 \dots d

        Every block is what the same samples would give, so fits on several subsets of the columns are paired as they are on data.

        Shape: covariance of (x, y) [d + 1, d + 1] -> batch shape of the draws, then ``count``.

        :param count: further replicates from each stream, which cost no generator of their own.
        :raises NotExactError: n <= d, where the scatter is singular and this factor does not exist.

        Source: Bartlett 1933, the decomposition of a Wishart matrix (known).
        """
        wide = covariance.shape[-1]
        if n < wide:
            raise NotExactError(f"scatter: expected n > d = {wide - 1} samples, found {n}")
        degrees = n - torch.arange(wide).double().numpy()
        factor = (
            draws.fill("scatter squares", (*count, wide), lambda g, s: g.chisquare(degrees, size=s)).sqrt().diag_embed()
        )
        below = torch.tril_indices(wide, wide, -1, device=draws.device)
        factor[..., below[0], below[1]] = draws.normal("scatter products", *count, wide * (wide - 1) // 2)
        rows = torch.linalg.cholesky(covariance.double()).to(draws.device) @ factor
        both = rows @ rows.mT
        return cls(n, both[..., :-1, :-1], both[..., :-1, -1], both[..., -1, -1])

    def only(self, columns: Sequence[int]) -> Scatter:
        """The same samples with these columns of x alone."""
        at = torch.tensor(list(columns), device=self.gram.device)
        return Scatter(self.n, self.gram[..., at[:, None], at], self.cross[..., at], self.square)

    def least_squares(self) -> Tensor:
        """The weights without intercept, [*batch_shape, d].

        :raises ArgumentError: a Gramian that is not positive definite.
        """
        return self.ridge(0.0)

    def ridge(self, penalty: float) -> Tensor:
        r"""The minimiser of :math:`\tfrac1n\|Xw-y\|^2 + \lambda\|w\|^2`, [*batch_shape, d].

        :param penalty: λ; 0 is least squares.
        :raises ArgumentError: a matrix that is not positive definite.
        """
        matrix = self.gram + self.n * penalty * torch.eye(
            self.gram.shape[-1], dtype=torch.float64, device=self.gram.device
        )
        factor, failed = torch.linalg.cholesky_ex(matrix)
        if bool(failed.any()):
            raise ArgumentError(
                "scatter: expected linearly independent columns, found a Gramian that is not positive definite"
            )
        return torch.cholesky_solve(self.cross[..., None], factor)[..., 0]

    def error(self, weights: Tensor) -> Tensor:
        """Mean squared error of these weights on the samples themselves, [*batch_shape]."""
        fitted = ((weights[..., None, :] @ self.gram)[..., 0, :] * weights).sum(-1)
        return (self.square - 2 * (weights * self.cross).sum(-1) + fitted) / self.n
