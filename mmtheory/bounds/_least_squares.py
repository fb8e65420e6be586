"""Least squares of many replicates at once, with a certificate that does not trust the factorisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


@dataclass(frozen=True)
class LeastSquares:
    """Weights and their certificate.

    Shape: ``weights`` [*batch, d], ``loss`` and ``gap`` [*batch].

    :param loss: mean squared residual on the sample.
    :param gap: certified bound on loss − least loss; infinite where the design is numerically rank deficient.
    """

    weights: Tensor
    loss: Tensor
    gap: Tensor


def least_squares(x: Tensor, y: Tensor, *, ridge: float = 0.0) -> LeastSquares:
    r"""Minimiser of mean squared residual plus ridge, through one Gram matrix a replicate.

    .. math:: \frac1n\|y - Xw\|^2 + \text{ridge}\,\|w\|^2

    The data are read twice: once for [X y]ᵀ[X y], once for the residual, whose gradient g certifies the answer: the objective is quadratic
    with Hessian 2H, so its excess is exactly gᵀH⁻¹g/4, bounded here with the least eigenvalue of H.

    Shape: x [*batch, n, d], y [*batch, n].

    :param ridge: weight of the squared norm; 0 is ordinary least squares.
    :raises ArgumentError: shapes that disagree, fewer samples than columns without a ridge, or a negative ridge.

    >>> fit = least_squares(torch.tensor([[1.0], [2.0]], dtype=torch.float64), torch.tensor([2.0, 4.0], dtype=torch.float64))
    >>> fit.weights.tolist(), bool(fit.gap < 1e-12)
    ([2.0], True)
    """
    if x.shape[:-1] != y.shape or not ridge >= 0:
        raise ArgumentError(
            f"least_squares: expected x [*b, n, d], y [*b, n], ridge >= 0, found {tuple(x.shape)}, {tuple(y.shape)}, {ridge}"
        )
    n, d = x.shape[-2:]
    if n < d and ridge == 0:
        raise ArgumentError(
            f"least_squares: expected at least as many samples as columns without a ridge, found n = {n}, d = {d}"
        )
    gram = x.mT @ x / n
    if ridge:
        gram = gram + ridge * torch.eye(d, dtype=x.dtype, device=x.device)
    factor, info = torch.linalg.cholesky_ex(gram)
    weights = torch.cholesky_solve(x.mT @ y.unsqueeze(-1) / n, factor)
    residual = y - (x @ weights).squeeze(-1)
    slope = (x.mT @ residual.unsqueeze(-1)) / n - ridge * weights
    # One step of refinement costs no further pass and squares away the factorisation's error.
    weights = (weights + torch.cholesky_solve(slope, factor)).squeeze(-1)
    least = torch.linalg.eigvalsh(gram)[..., 0]
    loss = (residual**2).mean(-1)
    rest = slope.squeeze(-1) - (gram @ torch.cholesky_solve(slope, factor)).squeeze(-1)
    gap = (rest**2).sum(-1) / least.clamp(min=torch.finfo(x.dtype).tiny)
    sound = (info == 0) & (least > d * torch.finfo(x.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).amax(-1))
    return LeastSquares(weights, loss, torch.where(sound, gap, torch.inf))
