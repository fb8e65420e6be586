"""Late fusion of each modality's own predictions, and their losses, where some modalities may be absent from a sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ._losses import declared_loss
from ._measures import where_present
from ._method import Step


def own_loss(step: Step, modality: str, logits: Tensor) -> Tensor:
    """Mean declared loss of one modality's own logits over the samples in which it is present (0 where there are none), [*batch]."""
    return where_present(declared_loss(logits, step.batch.y), step.batch, modality)


def late_average(
    predictions: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None = None,
) -> Tensor:
    r"""The weighted mean of what the present modalities say; zero where none is present.

    .. math:: o_i = \sum_m w^m_i f^m_i \Big/ \sum_m w^m_i

    Shape: predictions [*batch, n, classes], present and weights [*batch, n]; None weighs all alike.

    >>> late_average({"a": torch.ones(1, 2), "b": torch.zeros(1, 2)}, {"b": torch.tensor([False])}).tolist()
    [[1.0, 1.0]]
    """
    stacked = torch.stack(list(predictions.values()))
    like = stacked[0, ..., 0]
    heard = torch.stack([present[m].to(like.dtype) if m in present else torch.ones_like(like) for m in predictions])
    w = heard if weights is None else heard * torch.stack([weights[m] for m in predictions])
    total = w.sum(0)
    w = w / torch.where(total > 0, total, 1)
    return (w.unsqueeze(-1) * stacked).sum(0)


def entropy(logits: Tensor) -> Tensor:
    """Shannon entropy of each softmax, nat. Shape: [*batch, n, classes] to [*batch, n].

    >>> round(float(entropy(torch.zeros(1, 4))), 4)
    1.3863
    """
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1)


def entropy_weights(logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Weights that prefer, sample by sample, the modality that is surer: softmax over modalities of minus the entropy, each [*batch, n].

    Source: Zhang et al. 2024 (MLA), where exp(max_j H_j − H_m)/Σ_l exp(max_j H_j − H_l) is the same number.
    """
    unsure = torch.stack([entropy(f) for f in logits.values()])
    return dict(zip(logits, (-unsure).softmax(0), strict=True))
