"""Losses on matrices of similarities between paired views, and on lists of scored items."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.errors import ArgumentError

NOBODY = -1e30
"""In place of −∞, whose gradient is none where nothing else stands in a row."""


def adaptive_contrastive(
    similarity: Tensor,
    *,
    margin: float = 0.25,
    sharpness: float = 256.0,
    keep_diagonal: bool = False,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
) -> Tensor:
    r"""The circle loss of each row's own column against the others, with weights that grow with the distance from the optimum.

    .. math:: \ell_i = \mathrm{softplus}\Big(\ln\sum_{j\ne i} e^{\gamma a_{ij}(s_{ij} - m)} - \gamma a_i(s_{ii} - 1 + m)\Big), \qquad
        a_i = (1 + m - s_{ii})_+,\; a_{ij} = (s_{ij} + m)_+

    The weights are not differentiated, so a negative's gradient stands to the positive's as its share of the sum times a_ij/a_i; with one
    negative and s_ij ≥ −m the loss is ln 2 on the circle s_n² + (s_p − 1)² = 2m². The released code keeps the positive among the
    negatives as well (``keep_diagonal``), which pulls similarities of pairs to one half, not to one.

    Shape: similarity [*batch_shape, n, n] with pairs on the diagonal, rows [*batch_shape, n] of bool -> [*batch_shape], mean over rows.

    :param margin: m; 0 asks for exact similarity one and zero.
    :param sharpness: γ; 0 leaves the constant ln n and no gradient.
    :param rows: which rows count; None for all. A replicate with none has loss 0.
    :param columns: which columns are negatives, likewise [*batch_shape, n].
    :raises ArgumentError: a matrix that is not square or has a single row, or a negative sharpness.

    Source: Nguyen et al. 2022, adaptive contrastive learning (code); Sun et al. 2020, circle loss (known).

    >>> round(float(adaptive_contrastive(torch.eye(3))), 6)
    0.0
    """
    n = similarity.shape[-1]
    if similarity.shape[-2] != n or n < 2 or not sharpness >= 0:
        raise ArgumentError(
            f"adaptive_contrastive: expected a square matrix of at least two pairs and sharpness >= 0, found "
            f"{tuple(similarity.shape[-2:])} and {sharpness}"
        )
    positive = similarity.diagonal(dim1=-2, dim2=-1)
    near = (1 + margin - positive).clamp(min=0).detach()
    far = (similarity + margin).clamp(min=0).detach()
    pushed = sharpness * far * (similarity - margin)
    if not keep_diagonal:
        pushed = pushed.masked_fill(torch.eye(n, dtype=torch.bool, device=similarity.device), NOBODY)
    if columns is not None:
        pushed = pushed.masked_fill(~columns.unsqueeze(-2), NOBODY)
    each = softplus(pushed.logsumexp(-1) - sharpness * near * (positive - 1 + margin))
    return _mean(each, rows)


def _mean(each: Tensor, rows: Tensor | None) -> Tensor:
    """The mean over the rows that count, [*batch_shape]; 0 where none does."""
    if rows is None:
        return each.mean(-1)
    return torch.where(rows, each, 0.0).sum(-1) / rows.sum(-1).clamp(min=1)


def info_nce(critic: Tensor, *, rows: Tensor | None = None, columns: Tensor | None = None) -> Tensor:
    r"""The cross-entropy of finding each row's partner among n: :math:`-\frac1n\sum_i \ln \frac{e^{f_{ii}}}{\sum_j e^{f_{ij}}}`.

    Its mean over batches of n pairs is at least ln n − I for every critic, so ln n minus it never over-states the information on average
    and never passes ln n.

    Shape: critic [*batch_shape, n, n], pairs on the diagonal -> [*batch_shape]. Unit: nat.

    :param rows: which rows count, as in ``adaptive_contrastive``; None for all.
    :param columns: which columns can be a partner; each row's own always can.

    Source: van den Oord et al. 2018 (known).

    >>> round(float(info_nce(torch.zeros(4, 4))), 6)
    1.386294
    """
    if columns is not None:
        own = torch.eye(critic.shape[-1], dtype=torch.bool, device=critic.device)
        critic = critic.masked_fill(~(columns.unsqueeze(-2) | own), NOBODY)
    return _mean(-critic.log_softmax(-1).diagonal(dim1=-2, dim2=-1), rows)


def adaptive_hinge(scores: Tensor, labels: Tensor) -> Tensor:
    r"""The pairwise ranking loss whose margin is the difference of the labels, summed over pairs of unequal labels.

    .. math:: \sum_{y_i > y_j} \big((y_i - y_j) - (s_i - s_j)\big)_+

    At least the sum of y_i − y_j over pairs that are not in order, and zero only if the scores rank every list perfectly.

    Shape: scores and labels [*batch_shape, n] -> [*batch_shape].

    Source: Nguyen et al. 2022, ranking loss (code).

    >>> float(adaptive_hinge(torch.tensor([0.0, 0.0]), torch.tensor([2.0, 0.0])))
    2.0
    """
    wanted = labels[..., :, None] - labels[..., None, :]
    found = scores[..., :, None] - scores[..., None, :]
    return torch.where(wanted > 0, wanted - found, 0.0).clamp(min=0).sum((-2, -1))
