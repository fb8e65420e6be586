"""How well scores rank a list of items: average precision and normalised discounted cumulative gain."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def average_precision(scores: Tensor, relevant: Tensor) -> Tensor:
    r"""Mean of the precisions at the relevant items, best scored first; NaN for a list without a relevant item.

    .. math:: \mathrm{AP} = \frac{1}{\#\text{relevant}} \sum_{k \text{ relevant}} \frac{\#\text{relevant among the first } k}{k}

    Equal scores keep the order of the list.

    Shape: scores and relevant (bool) [*batch_shape, n] -> [*batch_shape].

    :raises ArgumentError: shapes that disagree.

    Source: textbook.

    >>> round(float(average_precision(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([True, False, True]))), 6)
    0.833333
    """
    hit = _ranked(scores, relevant.to(torch.float64), "average_precision")
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    return (hit * hit.cumsum(-1) / place).sum(-1) / hit.sum(-1)


def discounted_gain(scores: Tensor, labels: Tensor, k: int | None = None) -> Tensor:
    r"""Discounted cumulative gain of the first k, :math:`\sum_{i<k} (2^{y_{(i)}} - 1)/\ln(2+i)`, best scored first.

    With the natural logarithm, as the released code has it; a normalised gain does not depend on the base.

    Shape: scores and labels [*batch_shape, n] -> [*batch_shape].

    :param k: how many count; None for all.
    :raises ArgumentError: shapes that disagree, or k below 1.

    Source: Järvelin and Kekäläinen 2002 (known), as Nguyen et al. 2022 compute it (code).

    >>> round(float(discounted_gain(torch.tensor([0.4, 0.2, 0.5, 0.7]), torch.tensor([0, 1, 2, 0]), 2)), 2)
    2.73
    """
    if k is not None and k < 1:
        raise ArgumentError(f"discounted_gain: expected k >= 1, found {k}")
    gain = _ranked(scores, torch.exp2(labels.to(torch.float64)) - 1, "discounted_gain")[..., :k]
    return (gain / torch.log(2.0 + torch.arange(gain.shape[-1], dtype=torch.float64, device=gain.device))).sum(-1)


def normalised_gain(scores: Tensor, labels: Tensor, k: int | None = None) -> Tensor:
    """Discounted cumulative gain over that of the best order (NDCG@k); NaN for a list of zeros.

    Shape: scores and labels [*batch_shape, n] -> [*batch_shape], in [0, 1].

    :raises ArgumentError: shapes that disagree, or k below 1.

    Source: Järvelin and Kekäläinen 2002 (known).

    >>> round(float(normalised_gain(torch.tensor([0.4, 0.2, 0.5, 0.7]), torch.tensor([0, 1, 2, 0]), 2)), 2)
    0.52
    """
    return discounted_gain(scores, labels, k) / discounted_gain(labels.to(torch.float64), labels, k)


def _ranked(scores: Tensor, values: Tensor, owner: str) -> Tensor:
    """The values in falling order of the scores."""
    if scores.shape != values.shape:
        raise ArgumentError(
            f"{owner}: expected one label a score, found shapes {tuple(scores.shape)} and {tuple(values.shape)}"
        )
    return values.gather(-1, torch.argsort(scores, dim=-1, descending=True, stable=True))
