"""Uniform multi-loss: the joint loss plus one unimodal loss a modality, the baseline that balancing has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, unimodal_heads
from ._method import Card, Method, Step, Strength, per_replicate


class Uniform(Method):
    r"""The joint loss plus ``weight`` times the loss of each modality's own head.

    .. math:: L = \ell(o, y) + w \sum_m \ell(h_m(z_m), y)

    :param weight: w; 0 is joint training bit for bit.
    """

    card: ClassVar[Card] = Card(
        name="uniform",
        source="textbook multi-loss baseline",
        summary="Adds one unimodal loss a modality with equal weight.",
        fidelity="paper",
        cost="1F + 1B and M linear heads",
        neutral="weight = 0",
    )
    why_classes: ClassVar[str] = ""

    def __init__(self, weight: Strength = 1.0) -> None:
        if not isinstance(weight, Tensor) and not weight >= 0:
            raise ArgumentError(f"uniform: expected weight >= 0, found {weight}")
        self.weight = weight

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def losses(self, step: Step) -> dict[str, Tensor]:
        joint = super().losses(step)
        if not isinstance(self.weight, Tensor) and self.weight == 0:
            return joint
        own = sum(step.loss(logits) for logits in head_logits(step).values())
        return {"total": joint["total"] + per_replicate(self.weight, joint["total"]) * own}

    def neutral(self) -> Method:
        return Uniform(weight=0.0)
