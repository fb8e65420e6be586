"""Unimodal training: every encoder learns from its own head alone, the ceiling that a balanced encoder is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, head_of, unimodal_heads
from ._late import late_average, own_loss
from ._method import Card, Method, Phase, Step


class Unimodal(Method):
    r"""One classifier a modality, which no other modality's data or parameters can touch; the fusion stays as it was initialised.

    .. math:: L = \sum_m \ell(h_m(z^m), y)

    The sum couples nothing: each term reaches one encoder and one head.

    :param modality: the only one to train and to predict with; None trains all of them and predicts with the one whose training loss
        is lowest now, in each replicate (mean with momentum ``memory``). Where that one is absent from a sample the next best speaks, and
        where nobody is there the logits are zero.
    :param memory: in [0, 1); 0 compares the last batch alone.
    """

    card: ClassVar[Card] = Card(
        name="unimodal",
        source="textbook control",
        summary="Trains each encoder with a linear head of its own and no fused loss.",
        fidelity="paper",
        cost="1F + 1B of the encoders, M linear heads, no fusion",
    )
    separate: ClassVar[bool] = True
    why_classes: ClassVar[str] = ""

    def __init__(self, modality: str | None = None, *, memory: float = 0.9) -> None:
        if not 0 <= memory < 1:
            raise ArgumentError(f"unimodal: expected memory in [0, 1), found {memory}")
        self.modality, self.memory = modality, memory

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        if self.modality is not None and self.modality not in model.modalities:
            raise ArgumentError(
                f"{self.card.name}: expected a modality among {', '.join(model.modalities)}, found {self.modality!r}"
            )
        self.modalities = sorted(model.modalities)
        like = next(model.parameters())
        self.running = like.new_full((len(self.modalities), *model.batch_shape), 0.0)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return (Phase(hear=None if self.modality is None else frozenset((self.modality,))),)

    def output(self, step: Step) -> Tensor:
        return late_average(head_logits(step), step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        own = {m: own_loss(step, m, f) for m, f in head_logits(step).items()}
        if self.modality is None:
            now = torch.stack([own[m] for m in self.modalities]).detach()
            self.running = self.memory * self.running + (1 - self.memory) * now
        return {"total": torch.stack(list(own.values())).sum(0)}

    def unimodal_logits(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> dict[str, Tensor]:
        """What each trained modality predicts on its own, [*batch, n, classes], in alphabetical order."""
        names = self.modalities if self.modality is None else [self.modality]
        features = model.encode(batch.x, frozenset(names))
        return {m: auxiliary[head_of(m)](features[m]) for m in names}

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        own = self.unimodal_logits(model, auxiliary, batch)
        logits, cost = torch.stack(list(own.values())), self.running.unsqueeze(-1).expand(-1, *batch.y.shape)
        if len(own) == 1:
            cost = torch.zeros_like(cost[:1])
        if batch.present:
            here = [batch.present.get(m, torch.ones_like(batch.y, dtype=torch.bool)) for m in own]
            cost = torch.where(torch.stack(here), cost, torch.inf)
        least, best = cost.min(0)
        chosen = logits.gather(0, best[None, ..., None].expand(1, *logits.shape[1:])).squeeze(0)
        return torch.where(least.isfinite().unsqueeze(-1), chosen, 0.0) if batch.present else chosen

    def state_dict(self) -> dict[str, Tensor]:
        return {"running": self.running}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.running = state["running"].clone()
