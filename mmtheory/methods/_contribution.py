"""What each modality says on its own inside a fused model: providers that methods ask instead of the fusion's name."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.info import shapley, subsets
from mmtheory.models import MultimodalModel
from mmtheory.models.fusion import Features


class Contribution(Protocol):
    """Unimodal logits [*batch, n, classes] by modality, from the features of a fused model."""

    name: str

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        """Each modality's logits."""
        ...

    def refuse(self, model: MultimodalModel) -> str:
        """Why this provider cannot serve this model, "" if it can."""
        ...


class LinearSplit:
    """The fusion's own additive shares; they sum to the fused logits exactly, at no cost."""

    name = "linear split"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        parts = model.fusion.parts(features)
        if parts is None:
            raise ArgumentError(f"linear split: {self.refuse(model)}")
        return parts

    def refuse(self, model: MultimodalModel) -> str:
        return (
            ""
            if model.fusion.additive
            else f"fusion {type(model.fusion).__name__} has no additive shares; use ZeroOut or ShapleyShares"
        )


class ZeroOut:
    """Fused logits with all other modalities stood in for by the model's absence policy; M head forwards, no exactness."""

    name = "zero out"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        return {m: model.fuse(features, frozenset((m,))) for m in features}

    def refuse(self, model: MultimodalModel) -> str:
        return ""


class ShapleyShares:
    """Shapley value of each modality in the game S ↦ fused logits had only S been heard; sums to f([M]) − f(∅); 2^M − 1 head forwards."""

    name = "shapley"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        worth = {s: model.fuse(features, s) for s in (frozenset[str](), *subsets(features))}
        return shapley(worth, tuple(features))

    def refuse(self, model: MultimodalModel) -> str:
        return ""


def default_contribution(model: MultimodalModel) -> Contribution:
    """The linear split where the fusion has one, else zeroing out."""
    return LinearSplit() if model.fusion.additive else ZeroOut()
