"""What several views have in common: generalised canonical correlation, and angles between subspaces of random variables."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def maxvar(cov: Tensor, widths: Sequence[int], rank: int) -> tuple[Tensor, Tensor]:
    r"""The consensus that linear functions of every view come closest to (MAXVAR generalised canonical correlation).

    .. math:: \min_{g,\,W_m} \sum_m E\|W_m x_m - g\|^2 \;\text{ with } E\,gg^\top = I_k \quad=\quad \sum_{i\le k}(M - \lambda_i),

    λ_i the largest eigenvalues of Σ_m P_m, P_m the projection on the linear functions of view m. An eigenvalue is between 1 (seen by one
    view alone) and M (seen by all without noise), over M the mean squared correlation of the consensus with the views. Only the consensus
    is whitened here: whitening every view's own code instead is another problem (SUMCOR), with another solution unless views are
    exchangeable or there are two.

    Shape: cov [*batch_shape, d, d], Σ widths = d -> eigenvalues [*batch_shape, k] falling, and the consensus' weights
    [*batch_shape, d, k], g = weightsᵀ x.

    :param rank: k, at least 1.
    :raises ArgumentError: widths that do not add up to d, or a rank that is not between 1 and d.

    Source: Kettenring 1971 (known).

    >>> values, _ = maxvar(torch.tensor([[1.0, 0.6], [0.6, 1.0]]), [1, 1], 1)
    >>> round(float(values[0]), 6)
    1.6
    """
    d = cov.shape[-1]
    if sum(widths) != d or not 1 <= rank <= d:
        raise ArgumentError(
            f"maxvar: expected widths that add up to {d} and a rank from 1 to {d}, found {list(widths)} and {rank}"
        )
    roots: list[Tensor] = []
    at = 0
    for width in widths:
        here = slice(at, at + width)
        roots.append(torch.linalg.inv(torch.linalg.cholesky(cov[..., here, here])))
        at += width
    whiten = torch.zeros_like(cov)
    at = 0
    for root in roots:
        here = slice(at, at + root.shape[-1])
        whiten[..., here, here] = root
        at = here.stop
    values, vectors = torch.linalg.eigh(whiten @ cov @ whiten.mT)
    top, chosen = values.flip(-1)[..., :rank], vectors.flip(-1)[..., :rank]
    return top, whiten.mT @ chosen / top.unsqueeze(-2).sqrt()


def principal_cosines(one: Tensor, other: Tensor, cov: Tensor) -> Tensor:
    r"""Cosines of the principal angles between two spans of linear functions of x, as random variables.

    .. math:: s_i\big((U^\top\Sigma U)^{-1/2}\,U^\top\Sigma V\,(V^\top\Sigma V)^{-1/2}\big)

    All 1 when the spans are equal. They are the canonical correlations of Uᵀx and Vᵀx, so the least of them tells what is lost.

    Shape: one [*batch_shape, d, k], other [*batch_shape, d, l], cov [*batch_shape, d, d] -> [*batch_shape, min(k, l)], falling.

    Source: Björck and Golub 1973 (known).

    >>> eye = torch.eye(3)
    >>> principal_cosines(eye[:, :2], eye[:, 1:], eye).tolist()
    [1.0, 0.0]
    """
    whitened: list[Tensor] = []
    for span in (one, other):
        factor = torch.linalg.cholesky(span.mT @ cov @ span)
        whitened.append(torch.linalg.solve_triangular(factor, span.mT, upper=False))
    return torch.linalg.svdvals(whitened[0] @ cov @ whitened[1].mT)
