"""Losses that make the codes of several views agree without letting them collapse."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

FLOOR = 1e-4


def consensus_loss(codes: Sequence[Tensor]) -> Tensor:
    r"""How far the views' codes are from their mean.

    .. math:: \sum_m \mathrm{mean}\,(z_m - \bar z)^2 = \frac1M \sum_{m<n} \mathrm{mean}\,(z_m - z_n)^2

    Means are over samples and dimensions. Alone it is least at constant codes.

    Shape: codes M of [*batch_shape, n, D] -> [*batch_shape].

    :raises ArgumentError: no codes, or codes of different shapes.

    Source: Sun et al. 2023 (UmURL), inter-modal consistency (code).

    >>> float(consensus_loss([torch.zeros(4, 1), 2 * torch.ones(4, 1)]))
    2.0
    """
    if not codes or any(z.shape != codes[0].shape for z in codes):
        raise ArgumentError(f"consensus_loss: expected codes of one shape, found {[tuple(z.shape) for z in codes]}")
    stacked = torch.stack(list(codes))
    return ((stacked - stacked.mean(0)) ** 2).mean((-2, -1)).sum(0)


def matching_loss(codes: Sequence[Tensor], fused: Sequence[Tensor]) -> Tensor:
    r"""How far each view's code is from the part of the fused code that stands for it, :math:`\sum_m \mathrm{mean}\,(z_m - z_{u,m})^2`.

    Shape: both M of [*batch_shape, n, D] -> [*batch_shape].

    Source: Sun et al. 2023 (UmURL), intra-modal consistency (code).

    >>> float(matching_loss([torch.ones(4, 2)], [torch.zeros(4, 2)]))
    1.0
    """
    return torch.stack([((z - u) ** 2).mean((-2, -1)) for z, u in zip(codes, fused, strict=True)]).sum(0)


def variance_hinge(code: Tensor) -> Tensor:
    r"""The mean over dimensions of :math:`\max(0,\, 1 - \sqrt{\mathrm{var} + 10^{-4}})`; variance with n − 1.

    Its slope at small spread is bounded, so a consistency that pulls harder than it shrinks the code below 1 without collapsing it.

    Shape: code [*batch_shape, n, D], n ≥ 2 -> [*batch_shape].

    Source: Bardes et al. 2022 (VICReg), as UmURL uses it (code).

    >>> round(float(variance_hinge(torch.zeros(4, 3))), 6)
    0.99
    """
    return (1 - (code.var(-2) + FLOOR).sqrt()).clamp(min=0).mean(-1)


def covariance_penalty(code: Tensor) -> Tensor:
    r"""The squared covariances of different dimensions, :math:`\frac1D\sum_{d\ne d'}\mathrm{Cov}(z)_{dd'}^2`; covariance with n − 1.

    Shape: code [*batch_shape, n, D], n ≥ 2 -> [*batch_shape].

    Source: Bardes et al. 2022 (VICReg), as UmURL uses it (code).

    >>> float(covariance_penalty(torch.tensor([[1.0, 1.0], [-1.0, -1.0]])))
    4.0
    """
    centred = code - code.mean(-2, keepdim=True)
    cov = centred.mT @ centred / (code.shape[-2] - 1)
    return ((cov**2).sum((-2, -1)) - (cov.diagonal(dim1=-2, dim2=-1) ** 2).sum(-1)) / code.shape[-1]


def umurl_loss(
    codes: Sequence[Tensor],
    fused: Sequence[Tensor],
    *,
    agreement: float = 5.0,
    variance: float = 5.0,
    covariance: float = 1.0,
) -> Tensor:
    """Agreement of views with each other and with the fused code, and the regularisers of every code, views' and fused.

    Shape: codes and fused M of [*batch_shape, n, D] -> [*batch_shape].

    :param agreement: weight of the two consistencies; 0 leaves the regularisers.
    :param variance: weight of the variance hinge; 0 lets the codes collapse.
    :param covariance: weight of the covariance penalty; 0 lets dimensions repeat each other.

    Source: Sun et al. 2023 (UmURL), the loss with its weights (code).

    >>> flat = [torch.zeros(4, 2)] * 3
    >>> round(float(umurl_loss(flat, flat)), 5)
    29.7
    """
    both = torch.stack([*codes, *fused])
    regular = (variance * variance_hinge(both) + covariance * covariance_penalty(both)).sum(0)
    return agreement * (consensus_loss(codes) + matching_loss(codes, fused)) + regular
