"""The exact sign-flip test of paired differences."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

MOST = 40


def sign_flip(differences: Sequence[float] | Tensor) -> float:
    r"""Two-sided p-value of "each difference is as likely as its opposite", by all :math:`2^n` sign patterns.

    .. math:: p = 2^{-n}\,\#\{s \in \{\pm1\}^n : |\textstyle\sum_i s_i d_i| \ge |\sum_i d_i|\}

    Exact for any symmetric law, without a word about its shape. Two halves of the signs are enumerated and met in the middle, so forty
    differences take a second. The least p-value is :math:`2^{1-n}`.

    Shape: differences [n], 1 ≤ n ≤ 40.

    :raises ArgumentError: too many or no differences, or one that is not finite.

    Source: Fisher 1935 (known); counting by halves derived here.

    >>> sign_flip([1.0, 1.0, 1.0, 1.0]), sign_flip([1.0, -1.0])
    (0.125, 1.0)
    """
    d = torch.as_tensor(differences, dtype=torch.float64).flatten()
    if not 1 <= len(d) <= MOST or not bool(d.isfinite().all()):
        raise ArgumentError(f"sign_flip: expected 1 to {MOST} finite differences, found {len(d)}: {d.tolist()[:5]}")
    size = float(d.abs().max())
    if size == 0:
        return 1.0
    d = d / size
    first, second = (_sums(part) for part in d.tensor_split(2))
    # Sums that differ by rounding alone count as equal.
    reach = float(d.sum().abs()) - 1e-12 * len(d)
    if reach <= 0:
        return 1.0
    ordered = second.sort().values
    above = len(ordered) - torch.searchsorted(ordered, reach - first)
    return min(1.0, 2 * float(above.sum()) / 2.0 ** len(d))


def _sums(part: Tensor) -> Tensor:
    """Σ s_i d_i for every sign pattern, [2^k]."""
    sums = part.new_zeros(1)
    for value in part:
        sums = torch.cat([sums - value, sums + value])
    return sums
