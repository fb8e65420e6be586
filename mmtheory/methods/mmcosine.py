"""MMCosine: logits from angles alone, so that no modality wins by the length of its features or of its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtheory.batch import Batch
from mmtheory.models import MultimodalModel
from mmtheory.models.fusion import Features
from mmtheory.rng import Draws

from ._heads import head_of
from ._method import Card, Method, Step, Strength, per_replicate
from ._strengths import ranged


@final
class MMCosine(Method):
    r"""Multi-modal cosine loss.

    .. math:: o_k = s \sum_m \cos(z^m, w^m_k)

    |o_k| ≤ sM whatever the features, so the loss cannot reach zero; features that are all zero say nothing. It has directions of its
    own; the model's fusion stays as it was initialised. There is no setting in which it is joint training.

    :param scale: s, at least 0; 0 says nothing at all.

    Source: Xu et al. 2023 (ICASSP).
    """

    card: ClassVar[Card] = Card(
        name="mmcosine",
        source="Xu et al. 2023 (ICASSP)",
        summary="Replaces the head by scaled cosines between each modality's features and class directions.",
        fidelity="paper",
        differences=("M directions a class for any number of modalities; the released code has two",),
    )

    def __init__(self, scale: Strength = 10.0) -> None:
        self.scale = ranged("mmcosine: scale", scale)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype, classes = next(model.parameters()).dtype, model.fusion.classes
        return {head_of(m): Directions(model.width(m), classes, draws, head_of(m), dtype) for m in model.modalities}

    def logits(self, auxiliary: nn.ModuleDict, features: Features, present: Mapping[str, Tensor]) -> Tensor:
        """s times the summed cosines over the modalities present, [*batch, n, classes]."""
        parts = {m: auxiliary[head_of(m)](z) for m, z in features.items()}
        parts = {m: torch.where(present[m].unsqueeze(-1), c, 0) if m in present else c for m, c in parts.items()}
        total = torch.stack(list(parts.values())).sum(0)
        return total * per_replicate(self.scale, total)

    def output(self, step: Step) -> Tensor:
        return self.logits(step.auxiliary, step.features, step.batch.present)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        return self.logits(auxiliary, model.encode(batch.x), batch.present)


@final
class Directions(nn.Module):
    """Cosines with one direction a class. Shape: [*batch, n, width] to [*batch, n, classes]."""

    def __init__(self, width: int, classes: int, draws: Draws, name: str, dtype: torch.dtype) -> None:
        super().__init__()
        drawn = (2 * draws.uniform(f"{name} directions", width, classes) - 1) / math.sqrt(width)
        self.weight = nn.Parameter(drawn.to(dtype))

    def forward(self, z: Tensor) -> Tensor:
        return functional.normalize(z, dim=-1) @ functional.normalize(self.weight, dim=-2)
