"""CGGM: classifiers on each modality's features say who is improving; encoders that improve least get the largest gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_of, unimodal_heads
from ._late import own_loss
from ._method import Card, Gradients, Method, Step, Strength, per_replicate, required
from ._scores import probabilities
from ._strengths import off, ranged


def magnitude(
    gains: Mapping[str, Tensor], *, rho: Strength = 1.0, least: float = 0.0, most: float = torch.inf
) -> dict[str, Tensor]:
    r"""The factor on each modality's gradient from how much its classifier gained.

    .. math:: B_m = \rho\,\frac{\sum_j \Delta_j - \Delta_m}{\sum_j \Delta_j}, \qquad \sum_m B_m = \rho(M - 1)

    Gains of both signs can make it arbitrarily large or negative: it is kept in [``least``, ``most``]. Where nobody gains or loses on balance it
    is ρ(M − 1)/M for all.

    Shape: each [*batch].

    Source: Guo et al. 2024 (code); the bounds are ours.

    >>> [float(b) for b in magnitude({"a": torch.tensor(3.0), "b": torch.tensor(1.0)}).values()]
    [0.25, 0.75]
    """
    total = torch.stack(list(gains.values())).sum(0)
    even = (len(gains) - 1) / len(gains)
    share = {m: torch.where(total != 0, 1 - d / torch.where(total != 0, total, 1.0), even) for m, d in gains.items()}
    return {m: (per_replicate(rho, s) * s).clamp(least, most) for m, s in share.items()}


@final
class CGGM(Method):
    r"""Classifier-guided gradient modulation, of length and of direction.

    .. math:: g_m \leftarrow \bigl(1 + s(B_m - 1)\bigr) g_m, \qquad
        L = \mathrm{CE} + \frac{\lambda}{M} \sum_m \bigl(B_m - B_m \cos(r_m, r)\bigr)

    Δ_m is how much the loss of the modality's own classifier (on detached features) fell since the step before, averaged with ``memory``;
    r are residuals softmax − label of the fused logits and, held constant, of the classifiers': the gradients at the logits.

    :param strength: s; 1 is the published rule, 0 leaves gradients as they are. With lam = 0 too it is joint training bit for bit.
    :param rho: ρ, overall factor.
    :param lam: λ, weight of the direction term; 0 leaves it out.
    :param most: largest factor B.
    :param memory: of the running gains, in [0, 1); 0 takes the last step's.
    :param guarded: False lets factors be whatever they come out as, as the released code does, negative ones included.

    Source: Guo, Jin, Chen, Zhao 2024 (NeurIPS; public code).
    """

    card: ClassVar[Card] = Card(
        name="cggm",
        source="Guo, Jin, Chen, Zhao 2024 (NeurIPS)",
        summary="Scales encoders' gradients up where their own classifiers improve least, and turns the fused gradient towards theirs.",
        fidelity="repo",
        cost="1F + 1B and M linear heads",
        neutral="strength = 0 with lam = 0",
        differences=(
            "the released direction term is a Python number without a gradient; here it is differentiated through the fused logits",
            "cosines are between gradients at the logits, where shapes agree for every model; the released code takes output-layer weights",
            "factors are kept in [0, most]; the released ones are unbounded and can be negative (guarded = False)",
            "gains are of the classifiers' losses, averaged over steps; strength is ours, for dose-response",
        ),
    )

    def __init__(
        self,
        strength: Strength = 1.0,
        *,
        rho: Strength = 1.3,
        lam: Strength = 0.1,
        most: float = 3.0,
        memory: float = 0.9,
        guarded: bool = True,
    ) -> None:
        if not most > 0 or not 0 <= memory < 1:
            raise ArgumentError(f"cggm: expected most > 0 and memory in [0, 1), found {most} and {memory}")
        self.strength, self.memory = ranged("cggm: strength", strength, 0, 1), memory
        self.bounds = (0.0, most) if guarded else (-torch.inf, torch.inf)
        self.rho, self.lam = ranged("cggm: rho", rho), ranged("cggm: lam", lam)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        if len(model.modalities) < 2:
            raise ArgumentError(f"cggm: expected at least two modalities, found {list(model.modalities)}")
        like = next(model.parameters()).detach()
        self.last = {m: like.new_full(model.batch_shape, torch.nan) for m in model.modalities}
        self.gain = {m: like.new_zeros(model.batch_shape) for m in model.modalities}
        self.factor = {m: like.new_ones(model.batch_shape) for m in model.modalities}

    def losses(self, step: Step) -> dict[str, Tensor]:
        fused = required(step.logits)
        guides = {m: step.auxiliary[head_of(m)](z.detach()) for m, z in step.features.items()}
        own = {m: own_loss(step, m, f) for m, f in guides.items()}
        self._follow({m: loss.detach() for m, loss in own.items()})
        total = step.cross_entropy(fused)
        if not off(self.lam):
            total = total + per_replicate(self.lam, total) * self._turn(step, fused, guides)
        return {"total": total + torch.stack(list(own.values())).sum(0)}

    def _follow(self, losses: Mapping[str, Tensor]) -> None:
        """Running gains, and the factors that follow from them; before there are two losses, one."""
        for m, now in losses.items():
            gain = torch.where(self.last[m].isnan(), 0.0, self.last[m] - now)
            self.gain[m] = self.memory * self.gain[m] + (1 - self.memory) * gain
        known = ~torch.stack(list(self.last.values())).isnan().any(0)
        for m, b in magnitude(self.gain, rho=self.rho, least=self.bounds[0], most=self.bounds[1]).items():
            self.factor[m] = torch.where(known, b, 1.0)
        self.last = dict(losses)

    def _turn(self, step: Step, fused: Tensor, guides: Mapping[str, Tensor]) -> Tensor:
        """The direction term, [*batch]."""
        label = torch.nn.functional.one_hot(step.batch.y, fused.shape[-1]).to(fused.dtype)
        r = (probabilities(fused) - label).flatten(-2)
        terms: list[Tensor] = []
        for m, f in guides.items():
            guide = (probabilities(f.detach()) - label).flatten(-2)
            b = self.factor[m]
            terms.append(b - b * torch.cosine_similarity(guide, r, dim=-1))
        return torch.stack(terms).mean(0)

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        for m, b in self.factor.items():
            g = gradients.owned("total", m)
            k = 1 + per_replicate(self.strength, b) * (b - 1)
            g.mul_(k.unsqueeze(-1).to(g.dtype))
        return gradients.total()

    def state_dict(self) -> dict[str, Tensor]:
        parts = {"last": self.last, "gain": self.gain, "factor": self.factor}
        return {f"{name} {m}": v for name, part in parts.items() for m, v in part.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.last, self.gain, self.factor = (
            {m: state[f"{name} {m}"].clone() for m in self.last} for name in ("last", "gain", "factor")
        )

    def neutral(self) -> Method:
        return CGGM(0.0, lam=0.0)
