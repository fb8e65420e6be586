"""Reduced-rank regression in a known population: what a correction of limited rank can still gain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def unimodal_regressors(maps: Tensor, cov: Tensor, widths: Sequence[int]) -> Tensor:
    r"""The best linear predictor of Ax from each modality alone, side by side.

    .. math:: W_m = A_m + \sum_{m' \ne m} A_{m'}\Sigma_{m'm}\Sigma_{mm}^{-1} = (A\Sigma)_{:m}\,\Sigma_{mm}^{-1}

    Correlated modalities answer for each other, so that the sum of the unimodal predictions counts what they share more than once.

    Shape: maps [*batch_shape, p, d], cov [*batch_shape, d, d], Σ widths = d -> [*batch_shape, p, d].

    :raises ArgumentError: widths that do not add up to d.

    Source: textbook.

    >>> cov = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    >>> unimodal_regressors(torch.tensor([[1.0, 1.0]]), cov, [1, 1]).tolist()
    [[1.5, 1.5]]
    """
    if sum(widths) != cov.shape[-1]:
        raise ArgumentError(
            f"unimodal_regressors: expected widths that add up to {cov.shape[-1]}, found {list(widths)}"
        )
    cross, at, parts = maps @ cov, 0, list[Tensor]()
    for width in widths:
        here = slice(at, at + width)
        parts.append(torch.linalg.solve(cov[..., here, here], cross[..., here].mT).mT)
        at += width
    return torch.cat(parts, -1)


def reduced_rank_risks(residual: Tensor, cov: Tensor, given: Sequence[int] | None = None) -> Tensor:
    r"""The least mean squared error that is left of a linear residual after a correction of rank 0, 1, 2, …

    .. math:: \min_{\mathrm{rank}\,\Delta \le r} E\|(R - \Delta)x\|^2 = \sum_{i>r} s_i(R\,\Sigma^{1/2})^2

    With the correction on some coordinates only, R is first regressed on them and what they cannot say is left at every rank. The curve
    falls, is convex, and is flat from the rank of the regressed residual on.

    Shape: residual [*batch_shape, p, d], cov [*batch_shape, d, d] -> [*batch_shape, min(p, d') + 1], d' the coordinates corrected on.

    :param given: coordinates of the correction's input; None means all.

    Source: Izenman 1975 (known); for adapters on frozen unimodal models derived here.

    >>> reduced_rank_risks(torch.diag(torch.tensor([3.0, 2.0, 1.0])), torch.eye(3)).tolist()
    [14.0, 5.0, 1.0, 0.0]
    """
    target, block, beyond = _regressed(residual, cov, given)
    squares = torch.linalg.svdvals(target @ torch.linalg.cholesky(block)) ** 2
    tail = squares.flip(-1).cumsum(-1).flip(-1)
    return torch.cat([tail, torch.zeros_like(tail[..., :1])], -1) + beyond[..., None]


def reduced_rank_correction(residual: Tensor, cov: Tensor, rank: int, given: Sequence[int] | None = None) -> Tensor:
    """A correction of at most this rank that attains :func:`reduced_rank_risks`.

    Shape: as there -> [*batch_shape, p, d'].

    :param rank: 0 gives zeros.
    :raises ArgumentError: a rank below 0 or above min(p, d').

    Source: Izenman 1975 (known).

    >>> reduced_rank_correction(torch.diag(torch.tensor([3.0, 2.0])), torch.eye(2), 1).tolist()
    [[3.0, 0.0], [0.0, 0.0]]
    """
    target, block, _ = _regressed(residual, cov, given)
    if not 0 <= rank <= min(target.shape[-2:]):
        raise ArgumentError(
            f"reduced_rank_correction: expected a rank from 0 to {min(target.shape[-2:])}, found {rank}"
        )
    left = torch.linalg.svd(target @ torch.linalg.cholesky(block), full_matrices=False).U[..., :rank]
    return left @ (left.mT @ target)


def _regressed(residual: Tensor, cov: Tensor, given: Sequence[int] | None) -> tuple[Tensor, Tensor, Tensor]:
    """The residual as a function of the given coordinates, their covariance, and the variance they cannot explain."""
    if given is None:
        return residual, cov, residual.new_zeros(residual.shape[:-2])
    keep = list(given)
    block = cov[..., keep, :][..., :, keep]
    target = torch.linalg.solve(block, (residual @ cov)[..., keep].mT).mT
    whole = ((residual @ cov) * residual).sum((-2, -1))
    return target, block, whole - ((target @ block) * target).sum((-2, -1))
