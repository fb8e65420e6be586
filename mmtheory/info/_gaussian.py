"""Entropy and information of jointly Gaussian vectors, from their covariance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def gaussian_entropy(cov: Tensor) -> Tensor:
    r"""Differential entropy of a Gaussian vector.

    .. math:: h = \tfrac12 \ln\det(2\pi e\,\Sigma)

    Unlike a discrete entropy it may be negative.

    Shape: cov [*batch_shape, d, d] -> [*batch_shape]. Unit: nat.

    :raises ArgumentError: a covariance that is not positive definite.

    Source: textbook (Cover and Thomas, Theorem 8.4.1; known).

    >>> round(float(gaussian_entropy(torch.eye(2, dtype=torch.float64))), 6)
    2.837877
    """
    factor = _factor(cov)
    half = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return half + 0.5 * cov.shape[-1] * (1 + math.log(2 * math.pi))


def gaussian_information(cov: Tensor, first: Sequence[int], second: Sequence[int]) -> Tensor:
    r"""Mutual information between two sets of coordinates of a Gaussian vector.

    .. math:: I = -\tfrac12 \sum_k \ln(1-\rho_k^2), \qquad \rho_k \text{ the canonical correlations}

    Canonical correlations rather than three determinants, so that a small information keeps its relative precision.

    Shape: cov [*batch_shape, d, d] -> [*batch_shape]. Unit: nat.

    :param first: coordinates of the one side; empty means 0.
    :param second: coordinates of the other side, none of them in ``first``.
    :raises ArgumentError: overlapping sides, or a covariance of them that is not positive definite.

    Source: textbook (known).

    >>> cov = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> round(float(gaussian_information(cov, [0], [1])) / math.log(2), 12)
    0.5
    """
    a, b = list(first), list(second)
    if set(a) & set(b):
        raise ArgumentError(f"gaussian_information: expected disjoint sides, found {sorted(set(a) & set(b))} in both")
    if not a or not b:
        return cov.new_zeros(cov.shape[:-2])
    block = cov[..., a + b, :][..., :, a + b]
    k = len(a)
    left, right = _factor(block[..., :k, :k]), _factor(block[..., k:, k:])
    half = torch.linalg.solve_triangular(left, block[..., :k, k:], upper=False)
    core = torch.linalg.solve_triangular(right, half.mT, upper=False)
    canonical = torch.linalg.svdvals(core)
    if not bool((canonical < 1).all()):
        raise ArgumentError(
            f"gaussian_information: expected a positive definite covariance, found canonical correlation {float(canonical.max())}"
        )
    return -0.5 * torch.log1p(-(canonical**2)).sum(-1)


def gaussian_conditional(cov: Tensor, keep: Sequence[int], given: Sequence[int]) -> Tensor:
    r"""Covariance of some coordinates when others are known.

    .. math:: \Sigma_{A|C} = \Sigma_{AA} - \Sigma_{AC}\Sigma_{CC}^{-1}\Sigma_{CA}

    Shape: cov [*batch_shape, d, d] -> [*batch_shape, len(keep), len(keep)].

    :param given: the known coordinates; empty leaves the covariance as it is.
    :raises ArgumentError: a covariance of ``given`` that is not positive definite.

    Source: textbook (known).

    >>> cov = torch.tensor([[2.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    >>> gaussian_conditional(cov, [0], [1]).tolist()
    [[1.0]]
    """
    a, c = list(keep), list(given)
    own = cov[..., a, :][..., :, a]
    if not c:
        return own
    half = torch.linalg.solve_triangular(_factor(cov[..., c, :][..., :, c]), cov[..., c, :][..., :, a], upper=False)
    return own - half.mT @ half


def gaussian_conditional_information(
    cov: Tensor, first: Sequence[int], second: Sequence[int], given: Sequence[int]
) -> Tensor:
    r"""I(A; B | C) of a Gaussian vector: the information in the covariance conditional on C, the same for every value of C.

    Shape: cov [*batch_shape, d, d] -> [*batch_shape]. Unit: nat.

    :param given: the known coordinates; empty is :func:`gaussian_information`.
    :raises ArgumentError: overlapping sides, or a covariance that is not positive definite.

    Source: textbook (known).

    >>> chain = torch.tensor([[1.0, 0.5, 0.25], [0.5, 1.0, 0.5], [0.25, 0.5, 1.0]], dtype=torch.float64)
    >>> abs(float(gaussian_conditional_information(chain, [0], [2], [1]))) < 1e-15
    True
    """
    a, b = list(first), list(second)
    if (set(a) | set(b)) & set(given):
        raise ArgumentError(
            f"gaussian_conditional_information: expected a side apart from the given, found {list(given)} in both"
        )
    left = gaussian_conditional(cov, a + b, given)
    return gaussian_information(left, range(len(a)), range(len(a), len(a) + len(b)))


def correlated_strength(first: Tensor | float, second: Tensor | float, rho: Tensor | float) -> Tensor:
    r"""Joint signal-to-noise ratio (or squared separation) of two modalities whose noises correlate.

    .. math:: s_{12} = \frac{s_1 + s_2 - 2\rho\sqrt{s_1 s_2}}{1-\rho^2}

    Least at :math:`\rho = \sqrt{\min/\max}`, where it equals the larger of the two; it diverges as :math:`|\rho| \to 1`.

    Shape: broadcast of the three.

    :param rho: correlation between the two noises; 0 gives the sum.
    :raises ArgumentError: a negative strength, or a correlation outside (−1, 1).

    Source: derived here (2 × 2 precision).

    >>> float(correlated_strength(3.0, 1.0, 0.0))
    4.0
    """
    s1, s2, r = (torch.as_tensor(v, dtype=torch.float64) for v in (first, second, rho))
    if bool((s1 < 0).any() | (s2 < 0).any() | (r.abs() >= 1).any()):
        raise ArgumentError(
            f"correlated_strength: expected strengths >= 0 and |rho| < 1, found {first}, {second} and {rho}"
        )
    a, b = s1.sqrt(), s2.sqrt()
    # The larger strength and a square: nothing cancels, so the excess over the better modality is never negative by rounding.
    top, low = torch.maximum(a, b), torch.minimum(a, b)
    return torch.maximum(s1, s2) + (low - r * top) ** 2 / (1 - r**2)


def snr_information(snr: Tensor | float) -> Tensor:
    r"""Information that a scalar Gaussian latent's noisy view carries: :math:`\tfrac12\ln(1+\mathrm{snr})`.

    Shape: elementwise. Unit: nat.

    :raises ArgumentError: a negative ratio.

    Source: textbook (known).

    >>> float(snr_information(3.0)) == math.log(2)
    True
    """
    s = torch.as_tensor(snr, dtype=torch.float64)
    if bool((s < 0).any()):
        raise ArgumentError(f"snr_information: expected snr >= 0, found {snr}")
    return 0.5 * torch.log1p(s)


def _factor(cov: Tensor) -> Tensor:
    """The Cholesky factor, or an error in words."""
    factor, failed = torch.linalg.cholesky_ex(cov)
    if bool(failed.any()):
        raise ArgumentError("gaussian: expected a positive definite covariance, found one that is not")
    return factor
