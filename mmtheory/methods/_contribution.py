"""What each modality says on its own inside a fused model: providers that methods ask instead of the fusion's name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.info import shapley, subsets
from mmtheory.models import MultimodalModel
from mmtheory.models.fusion import PROVIDERS, Features
from mmtheory.rng import Draws

from ._heads import head_of, unimodal_heads
from ._method import FORWARD, Method, Step

Baseline = Literal["policy", "zero", "mean"]


class Contribution(ABC):
    """Unimodal logits [*batch, n, classes] by modality, from the features of a fused model.

    ``exact`` says that they sum to the fused logits (or to their difference from the empty coalition's).
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = False

    @abstractmethod
    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        """Each modality's logits."""

    @abstractmethod
    def cost(self, modalities: int) -> int:
        """Extra forwards of the fusion."""

    def refuse(self, model: MultimodalModel) -> str:
        """Why this provider cannot serve this model and which can, in one sentence; "" if it can."""
        reason = model.fusion.refusals.get(self.name, "it does not say why")
        if self.name in model.fusion.admits:
            return ""
        others = ", ".join(p for p in PROVIDERS if p in model.fusion.admits) or "nothing"
        return f"expected a fusion that admits the contribution {self.name!r}, found {type(model.fusion).__name__} ({reason}), which admits {others}"

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        """Trainable parts that it needs, by owner name."""
        return {}

    def loss(self, step: Step) -> Tensor | None:
        """What trains those parts and nothing else, [*batch]; None when there are none."""
        return None


@final
class LinearSplit(Contribution):
    """The fusion's own additive shares; they sum to the fused logits exactly, at no cost."""

    name: ClassVar[str] = "linear split"
    exact: ClassVar[bool] = True

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        parts = model.fusion.parts(features)
        if parts is None:
            raise ArgumentError(self.refuse(model))
        return parts

    def cost(self, modalities: int) -> int:
        return 0


@final
class ZeroOut(Contribution):
    """Fused logits with the features of all other modalities at zero; M forwards of the fusion, off its distribution, not exact."""

    name: ClassVar[str] = "zero out"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        blank = stand_ins(model, features, "zero")
        return {m: coalition(model, features, frozenset((m,)), blank) for m in features}

    def cost(self, modalities: int) -> int:
        return modalities


@final
class MeanBaseline(Contribution):
    """Fused logits with the features of all other modalities at their mean over this batch; M forwards of the fusion, not exact.

    In a linear fusion it differs from the split by a constant a replicate; what a batch of one says is the fused logits themselves.
    """

    name: ClassVar[str] = "mean baseline"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        blank = stand_ins(model, features, "mean")
        return {m: coalition(model, features, frozenset((m,)), blank) for m in features}

    def cost(self, modalities: int) -> int:
        return modalities


@final
class ShapleyShares(Contribution):
    r"""Shapley value of each modality in the game whose worth is the fused logits, by enumeration.

    .. math:: \varphi_m = \sum_{S \not\ni m} \frac{|S|!\,(M-|S|-1)!}{M!}\,[\psi(S \cup m) - \psi(S)], \qquad
        \sum_m \varphi_m = \psi([M]) - \psi(\emptyset)

    Costs 2^M forwards of the fusion.

    :param baseline: what stands in for the absent: the model's own absence ``policy``, ``zero``, or the ``mean`` over this batch.
    """

    name: ClassVar[str] = "shapley"
    exact: ClassVar[bool] = True

    def __init__(self, baseline: Baseline = "policy") -> None:
        if baseline not in {"policy", "zero", "mean"}:
            raise ArgumentError(f"shapley: expected baseline policy, zero or mean, found {baseline!r}")
        self.baseline: Baseline = baseline

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        blank = stand_ins(model, features, self.baseline)
        every = (frozenset[str](), *subsets(features))
        return shapley({s: coalition(model, features, s, blank) for s in every}, tuple(features))

    def cost(self, modalities: int) -> int:
        return 2**modalities


@final
class AuxiliaryHeads(Contribution):
    """Linear heads on each modality's detached features, trained beside the model: what can be read from them, not what the fusion uses.

    The heads are trainable parts, which a method must pass on (``Contributing`` does); their loss moves no encoder.
    """

    name: ClassVar[str] = "auxiliary heads"

    def __init__(self) -> None:
        self.model: MultimodalModel | None = None
        self.heads: Mapping[str, nn.Module] = {}

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        self.model, self.heads = model, unimodal_heads(model, draws)
        return self.heads

    def refuse(self, model: MultimodalModel) -> str:
        if refused := super().refuse(model):
            return refused
        if self.model is model:
            return ""
        return "expected a method that trains the auxiliary heads, found one that does not pass them on; use linear split, zero out, mean baseline or shapley"

    def logits(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        return {m: self.heads[head_of(m)](z.detach()) for m, z in features.items()}

    def loss(self, step: Step) -> Tensor | None:
        own = [step.cross_entropy(f) for f in self.logits(step.model, step.features).values()]
        return torch.stack(own).sum(0)

    def cost(self, modalities: int) -> int:
        return 0


class Contributing(Method):
    """A method that asks a provider for each modality's logits: binds it, trains what it needs, refuses what it cannot serve."""

    contribution: Contribution | None = None

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return {} if self.contribution is None else self.contribution.auxiliary(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.provider = self.contribution or default_contribution(model)
        if reason := self.provider.refuse(model):
            raise ArgumentError(f"{self.card.name}: {reason}")

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        own = self.provider.loss(step)
        return losses if own is None else {**losses, "total": losses["total"] + own}

    def plain(self) -> bool:
        own = {hook: getattr(type(self), hook) for hook in FORWARD}
        default = {hook: getattr(Contributing, hook) for hook in FORWARD}
        return own == default and type(self.provider).loss is Contribution.loss


def stand_ins(model: MultimodalModel, features: Features, baseline: Baseline) -> dict[str, Tensor]:
    """What stands in for each modality when it is absent, [*batch, 1, d_m]; a modality without features has no mean but its policy."""
    found = {m: model.stand_in(m).unsqueeze(-2) for m in model.modalities}
    if baseline == "zero":
        return {m: torch.zeros_like(blank) for m, blank in found.items()}
    return found if baseline == "policy" else found | {m: z.mean(-2, keepdim=True) for m, z in features.items()}


def coalition(model: MultimodalModel, features: Features, heard: frozenset[str], blank: Features) -> Tensor:
    """Fused logits had only these modalities been heard, the others stood in for."""
    lead = next(iter(features.values())).shape[:-1]
    return model.fusion({
        m: features[m] if m in heard else stand_in.expand(*lead, stand_in.shape[-1]) for m, stand_in in blank.items()
    })  # fmt: skip


def default_contribution(model: MultimodalModel) -> Contribution:
    """The linear split where the fusion has one, else zeroing out."""
    return LinearSplit() if model.fusion.additive else ZeroOut()
