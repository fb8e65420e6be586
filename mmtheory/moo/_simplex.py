"""Euclidean projection on the probability simplex."""

from __future__ import annotations

import torch
from torch import Tensor


def project(point: Tensor) -> Tensor:
    r"""The nearest point of the simplex, by sorting.

    .. math:: \Pi(v)_i = \max(v_i - \tau, 0), \quad \tau = \max_k \Bigl(\sum_{j \le k} v_{(j)} - 1\Bigr) / k

    Shape: ``[*batch, m]``.

    Source: Held, Wolfe & Crowder 1974 (paper).

    >>> project(torch.tensor([1.5, 0.5])).tolist()
    [1.0, 0.0]
    """
    ordered, _ = point.sort(-1, descending=True)
    counts = torch.arange(1, point.shape[-1] + 1, dtype=point.dtype, device=point.device)
    threshold = ((ordered.cumsum(-1) - 1) / counts).amax(-1, keepdim=True)
    return (point - threshold).clamp(min=0)
