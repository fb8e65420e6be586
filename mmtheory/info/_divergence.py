"""Divergences between tables, and the inequalities' two sides that tests and bounds are made of."""

from __future__ import annotations

import torch
from torch import Tensor


def kullback_leibler(p: Tensor, q: Tensor) -> Tensor:
    r"""Kullback–Leibler divergence.

    .. math:: D(p\|q) = \sum_x p(x) \ln\frac{p(x)}{q(x)}

    Infinite where p has mass that q has not.

    Shape: [*batch_shape, x] both -> [*batch_shape]. Unit: nat.

    Source: textbook (known).

    >>> float(kullback_leibler(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])))
    inf
    """
    ratio = torch.where(p > 0, p / q, 1.0)
    return torch.special.xlogy(p, ratio).sum(-1)


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    r"""Jensen–Shannon divergence, :math:`\tfrac12 D(p\|m) + \tfrac12 D(q\|m)` with m the mean of both; at most ln 2.

    Shape: [*batch_shape, x] both -> [*batch_shape]. Unit: nat.

    Source: Lin 1991 (known).

    >>> import math
    >>> float(jensen_shannon(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double())) == math.log(2)
    True
    """
    middle = (p + q) / 2
    return (kullback_leibler(p, middle) + kullback_leibler(q, middle)) / 2


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    r"""Total variation distance, :math:`\tfrac12 \sum_x |p(x) - q(x)|`; Pinsker: its double squared is at most 2 D(p‖q).

    Shape: [*batch_shape, x] both -> [*batch_shape].

    Source: textbook (known).

    >>> float(total_variation(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])))
    1.0
    """
    return (p - q).abs().sum(-1) / 2


def squared_hellinger(p: Tensor, q: Tensor) -> Tensor:
    r"""Squared Hellinger distance, :math:`\tfrac12\sum_x (\sqrt{p(x)} - \sqrt{q(x)})^2`; between TV²/2 and TV.

    Shape: [*batch_shape, x] both -> [*batch_shape].

    Source: textbook (known).

    >>> float(squared_hellinger(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])))
    1.0
    """
    return (p.sqrt() - q.sqrt()).square().sum(-1) / 2
