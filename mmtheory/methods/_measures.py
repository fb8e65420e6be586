"""Measures of whole splits between epochs, a part of the samples at a time, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel

from ._contribution import Contribution
from ._losses import cross_entropy, declared_loss
from ._method import View

PART = 1 << 16
"""Samples of all replicates together that are looked at at once."""


def split_of(view: View) -> Batch:
    """The validation split of a method that needs one."""
    if view.validation is None:
        raise ArgumentError("view: expected a validation split, found a method that does not declare its need")
    return view.validation


@torch.no_grad()
def by_parts(data: Batch, look: Callable[[Batch], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """``look`` at every sample exactly once. Shape: what it returns is [*batch, n, …], and so is the result."""
    axes = len(data.batch_shape)
    size = max(1, PART // max(1, data.batch_shape.numel()))
    found = [look(data.rows(slice(i, i + size))) for i in range(0, data.n, size)]
    return {k: torch.cat([part[k] for part in found], dim=axes) for k in found[0]}


def features_of(model: MultimodalModel, data: Batch) -> dict[str, Tensor]:
    """Every modality's features of a split, [*batch, n, d_m]."""
    return by_parts(data, lambda part: model.encode(part.x))


def own_logits(model: MultimodalModel, provider: Contribution, data: Batch) -> dict[str, Tensor]:
    """What each modality says on its own, [*batch, n, classes]."""
    return by_parts(data, lambda part: provider.logits(model, model.encode(part.x)))


def own_losses(logits: Mapping[str, Tensor], data: Batch) -> dict[str, Tensor]:
    """Mean declared loss of each modality over the samples in which it is present, [*batch]."""
    return {m: where_present(declared_loss(f, data.y), data, m) for m, f in logits.items()}


def own_accuracies(logits: Mapping[str, Tensor], data: Batch) -> dict[str, Tensor]:
    """Share of right answers of each modality where it is present, [*batch]."""
    return {m: where_present((f.argmax(-1) == data.y).to(f.dtype), data, m) for m, f in logits.items()}


def own_explained(logits: Mapping[str, Tensor], data: Batch) -> dict[str, Tensor]:
    """Share of the variance of the numbers y that each modality's own outputs explain, at least 0, where it is present, [*batch]."""
    y = data.y
    spread = {m: where_present((y - where_present(y, data, m).unsqueeze(-1)) ** 2, data, m) for m in logits}
    left = {m: 2 * loss for m, loss in own_losses(logits, data).items()}
    return {m: (1 - left[m] / spread[m].clamp(min=torch.finfo(y.dtype).tiny)).clamp(min=0) for m in logits}


def own_scores(logits: Mapping[str, Tensor], data: Batch) -> dict[str, Tensor]:
    """Mean probability that each modality gives the true label where it is present, [*batch]."""
    return {m: where_present((-cross_entropy(f, data.y)).exp(), data, m) for m, f in logits.items()}


def where_present(values: Tensor, data: Batch, modality: str) -> Tensor:
    """Mean of [*batch, n] over the samples in which a modality is present (0 where there are none), [*batch]."""
    here = data.present.get(modality)
    if here is None:
        return values.mean(-1)
    return torch.where(here, values, 0).sum(-1) / here.sum(-1).clamp(min=1)
