"""MMLoRA: encoders that were trained alone stay as they are, and adapters of low rank in them learn together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Adapted, MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, head_of, unimodal_heads
from ._late import late_average
from ._method import Card, Method, Phase, Step, View, required
from ._pretrained import Keeping, Pretrained


@final
class MMLoRA(Method):
    r"""Multi-modal low-rank adaptation.

    .. math:: W_m = W_m^* + \frac{\alpha}{r} B_m A_m, \qquad o = \frac1M \sum_m h_m\big(\phi_m(x_m; W_m)\big), \qquad
        L = \mathrm{CE}(o, y)

    B = 0 at first: the run starts as the unimodal ensemble. Adapters and heads learn from the loss of the mean; the encoders' own weights
    W* are buffers, which no gradient and no optimiser touches.

    :param rank: r of every adapter; 0 is UME bit for bit, and nothing moves after the unimodal training, heads neither.
    :param alpha: α; None takes α = r, a factor of 1.
    :param pretrain: epochs of the unimodal training that comes first; None as many as the settings say.
    :param modality: the only one whose encoder gets adapters; None for all.
    :param pretrained: encoders and heads from a training before this one, in place of one within it.
    :raises ArgumentError: a rank below 0 or (when the model is known) above a layer's size, a strange modality; pre-trained parts that are
        missing, of another architecture, or of another data set.

    Source: Du et al. 2023 (arXiv 2310.05193).
    """

    card: ClassVar[Card] = Card(
        name="mmlora",
        source="Du et al. 2023 (arXiv 2310.05193)",
        summary="Freezes encoders that were trained alone and trains low-rank adapters in them on the fused loss; rank 0 is ume.",
        fidelity="reconstruction",
        cost="1F + 1B through frozen encoders, M linear heads, no fusion; before that one unimodal training",
        differences=(
            "no code was released: ranks, places of the adapters, rates and schedules are ours",
            "logits of the unimodal heads are averaged, so that rank 0 is the ensemble; the paper also offers one head on all features",
            "adapters are in every dense layer and convolution, linear heads are trained whole; peft's usual choice is query and value alone",
            "there is no dropout in the adapters",
            "unimodal models are trained within the run, with its own settings, unless they are handed over",
            "adapters are optimised at the run's own learning rate",
        ),
    )

    def __init__(
        self,
        rank: int = 2,
        *,
        alpha: float | None = None,
        pretrain: int | None = None,
        modality: str | None = None,
        pretrained: Pretrained | None = None,
    ) -> None:
        if rank < 0 or (alpha is not None and not alpha > 0) or (pretrain is not None and pretrain < 0):
            raise ArgumentError(
                f"mmlora: expected rank and pretrain >= 0 and alpha > 0, found {rank}, {pretrain} and {alpha}"
            )
        self.rank, self.scale = rank, 1.0 if alpha is None or not rank else alpha / rank
        self.pretrain, self.modality, self.pretrained = pretrain, modality, pretrained

    def hand_over(self, parts: Pretrained) -> None:
        self.pretrained = parts

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        if self.modality is not None and self.modality not in model.modalities:
            raise ArgumentError(
                f"mmlora: expected a modality among {', '.join(model.modalities)}, found {self.modality!r}"
            )
        # The replicates' shape of the draws is also the model's: adapters are drawn by modality, whoever else is there.
        for m in model.modalities:
            rank = self.rank if self.modality in {None, m} else 0
            inner = model.encoders[m]
            model.encoders[m] = Adapted(inner, rank, draws=draws, name=m, scale=self.scale)  # pyright: ignore[reportArgumentType] (an Encoder)
        return model

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.taught = False

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        heads = unimodal_heads(model, draws)
        if self.pretrained is not None:
            encoders = {m: inner(model, m) for m in model.modalities}
            self.pretrained.check("mmlora", encoders, {m: heads[head_of(m)] for m in model.modalities})
        return heads

    def on_epoch(self, view: View) -> None:
        if self.taught:
            return
        parts = self.pretrained
        if parts is None:
            keeping = Keeping()
            trained = view.fit(keeping, self.pretrain)
            parts = Pretrained.of(trained, nn.ModuleDict(keeping.kept), view.train)
        parts.check_data("mmlora", view.train)
        for m in view.model.modalities:
            inner(view.model, m).load_state_dict(dict(parts.encoders[m]))
            view.auxiliary[head_of(m)].load_state_dict(dict(parts.heads[m]))
        self.taught = True

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return (Phase(),) if self.rank else ()

    def output(self, step: Step) -> Tensor:
        return late_average(head_logits(step), step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        return {"total": step.cross_entropy(required(step.logits))}

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        features = model.encode(batch.x)
        return late_average({m: auxiliary[head_of(m)](features[m]) for m in sorted(features)}, batch.present)

    def state_dict(self) -> dict[str, Tensor]:
        return {"taught": torch.tensor(self.taught)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.taught = bool(state["taught"])


def inner(model: MultimodalModel, modality: str) -> nn.Module:
    """A modality's encoder below its adapters."""
    return cast("Adapted", model.encoders[modality]).inner
