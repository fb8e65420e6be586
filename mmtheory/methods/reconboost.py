"""ReconBoost: boosting over modalities, one encoder at a time against what the others leave unexplained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_of, unimodal_heads
from ._losses import cross_entropy
from ._measures import where_present
from ._method import Card, Method, Phase, Step, Strength, per_replicate, required
from ._scores import probabilities
from ._strengths import off, ranged


@final
class ReconBoost(Method):
    r"""Alternating boosting with a reconcilement term.

    .. math:: L_k = -\frac1n \sum_i \bigl(w_1 - w_2\,p^{-k}_{i,y_i}\bigr) \log p^k_{i,y_i} \;+\; \alpha\,\overline{(p^k - p^{-k})^2}

    p^k is the softmax of the modality at work, p^{−k} that of the others' summed logits, held constant: samples that the others already
    classify push less. The turn passes every ``stage`` epochs in alphabetical order, and a round of turns may end with ``rectify`` epochs
    of plain cross-entropy on everybody's summed logits. The fusion is not used: the ensemble is the sum of unimodal logits, so that no
    cross-modal feature can ever be rewarded.

    :param w1: weight of the label, positive.
    :param w2: weight of what the others know, in [0, w1]; 0 is alternating unimodal training.
    :param memory: α, agreement with the others; 0, which is what the released code amounts to, leaves it out.
    :param stage: epochs of one modality's turn.
    :param rectify: epochs of global rectification after all turns.

    Source: Hua, Xu, Bao, Yang, Huang 2024 (ICML; public code).
    """

    card: ClassVar[Card] = Card(
        name="reconboost",
        source="Hua, Xu, Bao, Yang, Huang 2024 (ICML)",
        summary="Boosts one modality at a time against the residual of the others; predicts by the sum of unimodal logits.",
        fidelity="repo",
        cost="1F + 1B of one modality, one forward of the others",
        differences=(
            "the released memory term is detached on both sides and has no gradient; memory > 0 is a working form of ours",
            "the released code starts from pre-trained unimodal nets; here from the same initialisation as every method",
            "steps are those of one encoder: at equal epochs each modality gets 1/M of the updates",
        ),
    )

    def __init__(
        self, w2: Strength = 1.0, *, w1: float = 5.0, memory: Strength = 0.0, stage: int = 1, rectify: int = 0
    ) -> None:
        if not w1 > 0 or stage < 1 or rectify < 0:
            raise ArgumentError(
                f"reconboost: expected w1 > 0, stage >= 1 and rectify >= 0, found {w1}, {stage} and {rectify}"
            )
        self.w1, self.w2 = w1, ranged("reconboost: w2", w2, 0, w1)
        self.memory, self.stage, self.rectify = ranged("reconboost: memory", memory), stage, rectify

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.turns = sorted(model.modalities)

    def turn(self, epoch: int) -> str | None:
        """The modality at work in an epoch, None in a rectification."""
        place = epoch % (self.stage * len(self.turns) + self.rectify)
        return self.turns[place // self.stage] if place < self.stage * len(self.turns) else None

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        who = self.turn(epoch)
        if who is None:
            return (Phase("rectify"),)
        return (Phase(who, hear=frozenset((who,)), move=(who, head_of(who))),)

    def output(self, step: Step) -> Tensor:
        return summed({m: step.auxiliary[head_of(m)](z) for m, z in step.features.items()}, step.batch)

    def losses(self, step: Step) -> dict[str, Tensor]:
        own = required(step.logits)
        if step.phase.hear is None:
            return {"total": step.cross_entropy(own)}
        others = self._others(step)
        known = (-cross_entropy(others, step.batch.y)).exp()
        push = self.w1 - per_replicate(self.w2, known) * known
        loss = push * cross_entropy(own, step.batch.y)
        if not off(self.memory):
            apart = ((probabilities(own) - probabilities(others)) ** 2).mean(-1)
            loss = loss + per_replicate(self.memory, apart) * apart
        return {"total": where_present(loss, step.batch, step.phase.name)}

    @torch.no_grad()
    def _others(self, step: Step) -> Tensor:
        """Summed logits of the resting modalities, [*batch, n, classes]."""
        resting = frozenset(self.turns) - {step.phase.name}
        features = step.model.encode(step.batch.x, resting)
        if not features:
            return torch.zeros_like(required(step.logits))
        return summed({m: step.auxiliary[head_of(m)](z) for m, z in features.items()}, step.batch)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        features = model.encode(batch.x)
        return summed({m: auxiliary[head_of(m)](z) for m, z in features.items()}, batch)


def summed(logits: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """The sum of the present modalities' logits, [*batch, n, classes]."""
    heard = [torch.where(batch.present[m].unsqueeze(-1), f, 0) if m in batch.present else f for m, f in logits.items()]
    return torch.stack(heard).sum(0)
