"""AMSS: update a sub-network of each encoder, the smaller the more significant its modality is now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._late import entropy
from ._method import Card, Gradients, Method, Step, Strength, per_replicate
from ._sampling import inclusion, sequential_draw, systematic_draw
from ._strengths import ranged
from ._units import Layer, encoder_layers

Weights = Literal["none", "exact", "released"]
Importance = Literal["batch", "ema"]
DIFFERENCES = (
    "the released H(Y) is a cross-entropy of probabilities taken for logits; here the entropy of the batch's labels",
    "the released code masks convolutions of inner blocks alone; here every layer of the encoder, biases with their units",
    "the released mask of the last dense layer is computed and never applied; here every mask is",
    "at a bound of zero or less the share is (M - 1)/M, which is the released code's one half at M = 2",
)


class AMSS(Contributing):
    r"""Adaptive mask subnetwork by modal significance.

    .. math:: r_m = \frac{H(Y) - \mathrm{CE}_m + .5}{H(Z^m)}, \qquad \kappa_m = 1 - \mathrm{softmax}(r/T)_m, \qquad
        g_i \leftarrow \delta_i w_i g_i

    In every layer ⌈nκ⌉ of n units are drawn without replacement with weights ‖g_i‖² and keep their gradient. At balance half of the
    units (M = 2) still stand still: this is not a no-op.

    :param temperature: T > 0.
    :param clip: range that κ is clipped to, within [0, 1]; (1, 1) keeps every unit and is joint training bit for bit.
    :param weights: of kept units: ``none``, 1; ``exact``, 1/π_i with π_i their probability of being kept, so that the expected gradient
        is the plain one; ``released``, 1/(p_i + 1/n) with p_i their share of the squared gradient, which grows with the layer's width.
    :param importance: squared gradients of this ``batch``, or an ``ema`` of past ones (then the mask does not depend on this batch's
        noise).
    :param floor: with ``exact`` weights, share of the drawing probability that is spread over all units alike, in (0, 1].

    Source: Yang, Pan, Jiang, Xu, Tang 2024 (released code); the exact weights are derived here.
    """

    card: ClassVar[Card] = Card(
        name="amss",
        source="Yang, Pan, Jiang, Xu, Tang 2024 (arXiv 2404.08347; TPAMI 2025)",
        summary="Updates a random subset of each encoder's units, fewer where the modality says more about the label.",
        fidelity="repo",
        cost="1F + 1B, M head products, one random number a unit",
        neutral="clip = (1, 1)",
        differences=DIFFERENCES,
    )
    why_classes: ClassVar[str] = "its rates compare cross-entropies with the entropy of the labels"

    def __init__(
        self,
        temperature: Strength = 0.2,
        *,
        clip: tuple[float, float] = (0.1, 0.9),
        weights: Weights = "none",
        importance: Importance = "batch",
        floor: float = 0.1,
        memory: float = 0.9,
        contribution: Contribution | None = None,
    ) -> None:
        if not isinstance(temperature, Tensor) and not temperature > 0:
            raise ArgumentError(f"{self.card.name}: expected temperature > 0, found {temperature}")
        if not 0 <= clip[0] <= clip[1] <= 1 or not 0 < floor <= 1:
            raise ArgumentError(
                f"{self.card.name}: expected clip within [0, 1] and floor in (0, 1], found {clip} and {floor}"
            )
        if weights not in {"none", "exact", "released"} or importance not in {"batch", "ema"}:
            raise ArgumentError(
                f"{self.card.name}: expected weights none, exact or released and importance batch or ema, found {weights!r}, {importance!r}"
            )
        self.temperature, self.clip, self.floor = temperature, clip, floor
        self.memory = float(ranged(f"{self.card.name}: memory", memory, 0, 1))
        self.weights: Weights = weights
        self.importance: Importance = importance
        self.contribution = contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        super().bind(model, draws)
        self.past: dict[str, Tensor] = {}

    def shares(self, significance: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """κ, the share of units that move, from each modality's significance r; each [*batch]."""
        r = torch.stack([s.double() for s in significance.values()])
        kappa = 1 - (r / per_replicate(self.temperature, r[0])).softmax(0)
        kappa = torch.where((r > 0).all(0), kappa, 1 - 1 / len(r))
        return dict(zip(significance, kappa.clamp(*self.clip), strict=True))

    def significance(self, step: Step) -> dict[str, Tensor]:
        """r_m: how many nats about the label each modality's prediction is worth, over the entropy of its features."""
        found: dict[str, Tensor] = {}
        y = torch.nn.functional.one_hot(step.batch.y, step.model.fusion.classes).double().mean(-2)
        unsure = torch.special.entr(y).sum(-1)
        for m, f in self.provider.logits(step.model, step.features).items():
            gain = unsure - step.cross_entropy(f).double() + 0.5
            found[m] = gain / entropy(step.features[m].double()).mean(-1).clamp(min=1e-12)
        return found

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        # One backward of everything is paid all the same: masked gradients are computed and then dropped.
        kappa = self.shares(self.significance(step))
        for m in step.model.modalities:
            for number, layer in enumerate(encoder_layers(step, gradients, m)):
                name = f"{m} {number}"
                kept = (layer.units * kappa[m] - 1e-9).ceil().clamp(min=1)
                layer.scale(self._factor(step, name, self._importance(name, layer), kept))
        return gradients.total()

    def _importance(self, name: str, layer: Layer) -> Tensor:
        """Each unit's share of the layer's squared gradient, now or on average, [*batch, units]."""
        now = layer.squares().double()
        if self.importance == "ema":
            before = self.past.get(name)
            self.past[name] = now if before is None else self.memory * before + (1 - self.memory) * now
            now = self.past[name] if before is None else before
        share = now + torch.finfo(now.dtype).tiny
        return share / share.sum(-1, keepdim=True)

    def _factor(self, step: Step, name: str, share: Tensor, kept: Tensor) -> Tensor:
        """δ_i w_i of every unit, [*batch, units]; ``kept`` of them are not zero."""
        n = share.shape[-1]
        if self.weights == "exact":
            pi = inclusion((1 - self.floor) * share + self.floor / n, kept)
            mask = systematic_draw(pi, step.draws.uniform(f"start {name}"), step.draws.uniform(f"order {name}", n))
            return torch.where(mask, 1 / pi, 0)
        mask = sequential_draw(share, kept, step.draws.uniform(f"unit {name}", n))
        return mask / (share + 1 / n) if self.weights == "released" else mask.double()

    def state_dict(self) -> dict[str, Tensor]:
        return {f"past {name}": square for name, square in self.past.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.past = {name.removeprefix("past "): square.clone() for name, square in state.items()}

    def neutral(self) -> Method:
        return AMSS(clip=(1.0, 1.0))


class AMSSPlus(AMSS):
    """AMSS with weights on kept units; exactly unbiased by default, so that in expectation no modality is slowed at all."""

    card: ClassVar[Card] = Card(
        name="amss-plus",
        source="Yang, Pan, Jiang, Xu, Tang 2024 (arXiv 2404.08347; TPAMI 2025)",
        summary="AMSS whose kept units are weighted by the inverse of their probability of being kept.",
        fidelity="reconstruction",
        cost="1F + 1B, M head products, one random number a unit",
        neutral="clip = (1, 1)",
        differences=(
            *DIFFERENCES,
            "weights = 'released' divides by p_i + 1/n, which is not the probability of being kept: it multiplies the gradient by about "
            "a quarter of the layer's width; the default divides by that probability exactly",
            "the released weights of dense layers are made from the units' numbers instead of their importances, which is not offered",
            "exactly unbiased weights leave modalities different noise only: no rebalancing remains in expectation",
        ),
    )
    why_classes: ClassVar[str] = "its rates compare cross-entropies with the entropy of the labels"

    def __init__(
        self,
        temperature: Strength = 0.2,
        *,
        clip: tuple[float, float] = (0.1, 0.9),
        weights: Weights = "exact",
        importance: Importance = "batch",
        floor: float = 0.1,
        memory: float = 0.9,
        contribution: Contribution | None = None,
    ) -> None:
        super().__init__(
            temperature,
            clip=clip,
            weights=weights,
            importance=importance,
            floor=floor,
            memory=memory,
            contribution=contribution,
        )

    def neutral(self) -> Method:
        return AMSSPlus(clip=(1.0, 1.0))
