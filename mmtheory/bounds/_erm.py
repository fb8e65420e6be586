"""Least squares of many replicates at once, with a certificate taken from the residuals themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


@dataclass(frozen=True)
class LeastSquares:
    """Weights of a least-squares fit and how far from optimal they are.

    Shape: ``weights`` [*batch_shape, d], or [*batch_shape, d, k] for k targets; ``certificate`` [*batch_shape].

    :param certificate: mean squared error minus the least possible one; infinite where the columns are numerically dependent.
    """

    weights: Tensor
    certificate: Tensor


def least_squares(x: Tensor, y: Tensor) -> LeastSquares:
    r"""Weights minimising the mean squared error, all replicates at once, no intercept.

    .. math:: \text{certificate} = \tfrac1n\, g^\top (X^\top X)^{-1} g, \qquad g = X^\top(y - Xw)

    The normal equations square the condition number, so the residuals are formed anew and judge the answer. Where a pivot falls below
    10⁻¹² of the largest squared column length nothing is certified: the certificate is infinite.

    Several targets at once share one factorisation; their certificates are added.

    Shape: x [*batch_shape, n, d], y [*batch_shape, n] -> see :class:`LeastSquares`; y [*batch_shape, n, k] -> weights [*batch_shape, d, k].

    :raises ArgumentError: shapes that disagree, or fewer rows than columns.

    Source: derived here (textbook normal equations).

    >>> fit = least_squares(torch.tensor([[1.0], [2.0]]), torch.tensor([2.0, 4.0]))
    >>> fit.weights.tolist(), fit.certificate.item() < 1e-15
    ([2.0], True)
    """
    single = x.shape[:-1] == y.shape
    if x.dim() < 2 or not (single or x.shape[:-1] == y.shape[:-1]) or x.shape[-2] < x.shape[-1]:
        raise ArgumentError(
            f"least_squares: expected x [*b, n, d] with n >= d and y [*b, n] or [*b, n, k], found {tuple(x.shape)}, {tuple(y.shape)}"
        )
    # Row vectors times x, and x times its transpose, as tall thin matrices like it: a column on the right costs three times as much.
    x, y = x.double(), (y[..., None, :] if single else y.mT).double()
    gram = _gram(x)
    factor, failed = torch.linalg.cholesky_ex(gram)
    weights = torch.cholesky_solve((y @ x).mT, factor)
    left = ((y - weights.mT @ x.mT) @ x).mT
    excess = (left * torch.cholesky_solve(left, factor)).sum((-2, -1)) / x.shape[-2]
    pivot = factor.diagonal(dim1=-2, dim2=-1).amin(-1) ** 2
    sound = (failed == 0) & (pivot > 1e-12 * gram.diagonal(dim1=-2, dim2=-1).amax(-1))
    return LeastSquares(weights[..., 0] if single else weights, torch.where(sound, excess.clamp(min=0), math.inf))


def _gram(x: Tensor) -> Tensor:
    """XᵀX of each replicate; on the CPU through numpy, whose product of tall thin stacks takes half as long."""
    if x.device.type != "cpu":
        return x.mT @ x
    rows = x.detach().numpy()
    return torch.from_numpy(rows.swapaxes(-1, -2) @ rows)
