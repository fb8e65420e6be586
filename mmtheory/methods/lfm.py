"""LFM: move from aligning the modalities' predictions to classifying with them, by a schedule or by what helps the next step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._late import entropy
from ._method import Card, Gradients, Method, Phase, Step, Strength, per_replicate
from ._strengths import off, ranged

Schedule = Literal["ramp", "learned"]


@final
class LFM(Contributing):
    r"""Learning to rebalance multi-modal optimisation by adaptively fitting label and alignment.

    .. math:: L = a\,\mathrm{CE}(o, y) + (1 - a)\,\mathrm{JS}(p^1, \dots, p^M), \qquad
        \mathrm{JS} = H\big(\tfrac1M\textstyle\sum_m p^m\big) - \tfrac1M \sum_m H(p^m)

    p^m is the softmax of modality m's own logits. With ``schedule="ramp"`` 1 − a_e = (1 − a_0)(1 − e/E)₊^power over epochs e. With
    ``learned``, a moves by the one-step look-ahead gradient: the classification loss after the step (same batch) falls with a at the
    rate ⟨∇CE(θ'), ∇CE(θ) − ∇JS(θ)⟩, of which the cosine is taken so that no scale enters.

    :param start: a_0 in [0, 1]; 1 with ``ramp`` is joint training bit for bit.
    :param ramp: E, epochs until a = 1; at least 1.
    :param power: shape of the ramp, positive.
    :param rate: with ``learned``, step of a; at least 0.

    Source: Yang, Wan, Jiang, Xu 2024 (NeurIPS), released code; cosine form of the look-ahead derived here.
    """

    card: ClassVar[Card] = Card(
        name="lfm",
        source="Yang, Wan, Jiang, Xu 2024 (NeurIPS)",
        summary="Blends classification with an alignment of unimodal predictions, with a weight that grows in training.",
        fidelity="reconstruction",
        cost="1F + 1B, M head products; learned: 2F + 3B",
        neutral="start = 1",
        differences=(
            "the released schedule is a polynomial fitted to one data set; here a power of the remaining share of a ramp",
            "the look-ahead is taken at the parameters that the optimiser really moved to, and its cosine sets the step",
        ),
    )

    def __init__(
        self,
        start: Strength = 0.5,
        *,
        ramp: int = 20,
        power: float = 1.0,
        schedule: Schedule = "ramp",
        rate: Strength = 0.05,
        contribution: Contribution | None = None,
    ) -> None:
        if ramp < 1 or not power > 0 or schedule not in {"ramp", "learned"}:
            raise ArgumentError(
                f"lfm: expected ramp >= 1, power > 0, schedule ramp or learned, found {ramp}, {power}, {schedule!r}"
            )
        self.start, self.ramp, self.power = ranged("lfm: start", start, 0, 1), ramp, power
        self.schedule: Schedule = schedule
        self.rate, self.contribution = ranged("lfm: rate", rate), contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        super().bind(model, draws)
        like = next(model.parameters())
        self.weight = like.new_zeros(model.batch_shape, dtype=torch.float64) + self.start
        self.contrast = like.new_zeros(())

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        if self.schedule == "ramp":
            return (Phase(),)
        return (Phase(rows=("label", "alignment")), Phase("ahead", rows=("label",), move=()))

    def losses(self, step: Step) -> dict[str, Tensor]:
        label = super().losses(step)["total"]
        if step.phase.name == "ahead":
            return {"label": label}
        if self.schedule == "learned":
            return {"label": label, "alignment": self._misalignment(step)}
        rest = per_replicate(1 - self.start, label) * max(0.0, 1 - step.epoch / self.ramp) ** self.power
        if off(rest):
            return {"total": label}
        return {"total": (1 - rest) * label + rest * self._misalignment(step)}

    def _misalignment(self, step: Step) -> Tensor:
        return jensen_shannon(self.provider.logits(step.model, step.features)).mean(-1)

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        if self.schedule == "ramp":
            return gradients.total()
        label = gradients.rows["label"]
        if step.phase.name == "ahead":
            cosine = torch.cosine_similarity(label.double(), self.contrast.double(), dim=-1)
            self.weight = (self.weight + per_replicate(self.rate, cosine) * cosine).clamp(0, 1)
            return label
        alignment, a = gradients.rows["alignment"], self.weight.unsqueeze(-1).to(label.dtype)
        self.contrast = label - alignment
        return a * label + (1 - a) * alignment

    def state_dict(self) -> dict[str, Tensor]:
        return {"weight": self.weight}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.weight = state["weight"].clone()

    def neutral(self) -> Method:
        return LFM(1.0)


def jensen_shannon(logits: Mapping[str, Tensor]) -> Tensor:
    """Jensen–Shannon divergence of the modalities' softmaxes, nat, of each sample, [*batch, n]; at most log M.

    >>> round(float(jensen_shannon({"a": torch.tensor([[99.0, 0.0]]), "b": torch.tensor([[0.0, 99.0]])})), 4)
    0.6931
    """
    logs = torch.stack([f.log_softmax(-1) for f in logits.values()])
    mixture = logs.logsumexp(0) - math.log(len(logits))
    return -(mixture.exp() * mixture).sum(-1) - torch.stack([entropy(f) for f in logits.values()]).mean(0)
