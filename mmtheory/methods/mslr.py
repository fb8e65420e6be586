"""MSLR: a learning rate for each encoder that follows how its modality's validation accuracy is doing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._measures import own_accuracies, own_explained, own_logits, own_scores, split_of
from ._method import Card, Method, Step, Strength, View, per_replicate
from ._strengths import ranged

Measure = Literal["accuracy", "score"]


@final
class MSLR(Contributing):
    r"""Modality-specific learning rate, the dynamic variant.

    .. math:: \eta_m = \eta\,\bigl(1 + s\,[\mathrm{clip}(a_m / \bar a_m, lo, hi) - 1]\bigr)

    a is the validation ``measure`` now, ā its mean over the last ``window`` epochs. While it is constant, and before there are two
    measures, this is joint training bit for bit. The factor scales the encoder's whole move, weight decay included.

    :param strength: s; 1 is the published rule, 0 joint training.
    :param measure: ``accuracy``, or ``score``, the mean probability of the true label, which moves where few samples hide a trend;
        numbers have a measure of their own, the share of their variance that is explained, at least 0.
    :param window: epochs that are averaged.
    :param low: smallest factor.
    :param high: largest factor.
    :param first: epoch before which the first measure is taken; 0 counts the untrained model as one.
    :param contribution: where unimodal logits come from, see ``Contributing``.

    Source: Yao & Mihalcea 2022 (from memory of the paper); bounds .7 and 1.3 from a public re-implementation.
    """

    card: ClassVar[Card] = Card(
        name="mslr",
        source="Yao, Mihalcea 2022",
        summary="Scales every encoder's learning rate by its modality's recent trend in validation accuracy.",
        fidelity="reconstruction",
        cost="1F + 1B, one forward of the validation split an epoch",
        neutral="strength = 0",
        differences=(
            "of the paper's Keep, Smooth and Dynamic variants this is the dynamic one, from a secondary source",
            "public re-implementations bound the factor by .9 and 1.1 or by .7 and 1.3; the bounds are parameters",
            "strength is ours, for dose-response",
        ),
    )
    needs: ClassVar[frozenset[str]] = frozenset({"validation", "update"})
    why_classes: ClassVar[str] = ""

    def __init__(
        self,
        strength: Strength = 1.0,
        *,
        measure: Measure = "accuracy",
        window: int = 5,
        low: float = 0.7,
        high: float = 1.3,
        first: int = 1,
        contribution: Contribution | None = None,
    ) -> None:
        if window < 1 or not 0 <= low <= 1 <= high or first < 0:
            raise ArgumentError(
                f"mslr: expected window >= 1, 0 <= low <= 1 <= high and first >= 0, found {window}, {low}, {high}, {first}"
            )
        if measure not in {"accuracy", "score"}:
            raise ArgumentError(f"mslr: expected measure accuracy or score, found {measure!r}")
        self.measure: Measure = measure
        self.strength = ranged("mslr: strength", strength, 0, 1)
        self.window, self.low, self.high, self.first = window, low, high, first
        self.contribution = contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        super().bind(model, draws)
        like = next(model.parameters()).detach()
        self.recent = {m: like.new_zeros(*model.batch_shape, self.window) for m in model.modalities}
        self.factor = {m: like.new_ones(model.batch_shape) for m in model.modalities}

    def on_epoch(self, view: View) -> None:
        seen = view.epoch - self.first
        if seen < 0:
            return
        held = split_of(view)
        look = own_accuracies if self.measure == "accuracy" else own_scores
        look = own_explained if held.y.is_floating_point() else look
        found = look(own_logits(view.model, self.provider, held), held)
        for m, now in found.items():
            recent = self.recent[m]
            if seen:  # by differences, so that a constant accuracy gives a factor of exactly one
                mean = now + (recent[..., : min(seen, self.window)] - now.unsqueeze(-1)).mean(-1)
                trend = torch.where(mean > 0, now / torch.where(mean > 0, mean, 1.0), 1.0).clamp(self.low, self.high)
                self.factor[m] = 1 + per_replicate(self.strength, now) * (trend - 1)
            recent[..., seen % self.window] = now

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        for m, factor in self.factor.items():
            columns, c = flat.columns[m], factor.unsqueeze(-1)
            moved = flat.data[..., columns]
            torch.lerp(before[..., columns], moved, c.to(moved.dtype), out=moved)  # exactly ``moved`` where c is 1

    def state_dict(self) -> dict[str, Tensor]:
        return {f"recent {m}": v for m, v in self.recent.items()} | {f"factor {m}": v for m, v in self.factor.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.recent = {m: state[f"recent {m}"].clone() for m in self.recent}
        self.factor = {m: state[f"factor {m}"].clone() for m in self.factor}

    def neutral(self) -> Method:
        return MSLR(0.0)
