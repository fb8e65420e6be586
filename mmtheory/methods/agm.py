"""AGM: scale the backward signal of each modality's share of the logits by how its lead compares with its usual lead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.models.fusion import Features
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution, LinearSplit, ShapleyShares, coalition, stand_ins
from ._method import Card, Gradients, Method, Step, Strength, per_replicate
from ._strengths import off, ranged


@final
class AGM(Contributing):
    r"""Adaptive gradient modulation.

    .. math:: \kappa_m = \exp\big(\alpha \min(\hat r_m - r_m, 10)\big), \qquad r_m = \exp\Big(\frac{M}{M-1}(\bar s - s^m)\Big)

    s^m is the mean cross-entropy of modality m's Shapley share φ^m of the logits (with the empty coalition worth 0, so that
    Σ φ^m = o), and r̂ the running mean of r. The logits stay as they are; only the gradient through φ^m is multiplied by κ_m, which
    may exceed 1. The rule reacts to departures from a modality's own usual lead, not to the lead.

    :param alpha: strength, at least 0; 0 is joint training bit for bit.
    :param cap: largest exponent over alpha; κ reaches e^{10 α} when a modality suddenly does much worse than usual, hence ``clip``.
    :param clip: largest norm of a replicate's whole gradient, applied where alpha is not 0; inf for none.
    :param contribution: None takes additive shares where the fusion has them (they are the Shapley shares of a linear fusion with one
        bias, at no cost), else Shapley shares.

    Source: Li et al. 2023 (ICCV) and its released code; more than two modalities as in its general form.
    """

    card: ClassVar[Card] = Card(
        name="agm",
        source="Li et al. 2023 (ICCV)",
        summary="Speeds up modalities that do worse than their own running average and slows those that do better.",
        fidelity="paper",
        cost="1F + 1B and 2^M forwards and backwards of the fusion (M head products if it is additive)",
        neutral="alpha = 0",
        differences=(
            "the released code runs the whole network for every coalition; here the fusion alone",
            "the released code clips every gradient at norm 1; here not where alpha = 0, which is joint training",
            "BalanceBenchmark's AGM has the exponent's sign inverted; here it is the authors'",
        ),
    )
    why_classes: ClassVar[str] = (
        "its scores are cross-entropies: exponentials of squared errors would depend on the unit of the target"
    )

    def __init__(
        self,
        alpha: Strength = 1.0,
        *,
        cap: float = 10.0,
        clip: float = 1.0,
        contribution: Contribution | None = None,
    ) -> None:
        if not clip > 0:
            raise ArgumentError(f"agm: expected clip > 0, found {clip}")
        self.alpha, self.cap = ranged("agm: alpha", alpha), float(ranged("agm: cap", cap))
        self.clip, self.contribution = clip, contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.provider = self.contribution or (LinearSplit() if model.fusion.additive else ShapleyShares())
        if reason := self.provider.refuse(model):
            raise ArgumentError(f"agm: {reason}")
        if len(model.modalities) < 2:
            raise ArgumentError(f"agm: expected at least two modalities, found {list(model.modalities)}")
        like = next(model.parameters())
        self.usual = {m: like.new_zeros(model.batch_shape, dtype=torch.float64) for m in model.modalities}
        self.count = 0

    def attributions(self, model: MultimodalModel, features: Features) -> dict[str, Tensor]:
        """Each modality's share of the logits; Shapley shares get an M-th of the empty coalition's logits."""
        shares = self.provider.logits(model, features)
        if not isinstance(self.provider, ShapleyShares):
            return shares
        blank = stand_ins(model, features, self.provider.baseline)
        empty = coalition(model, features, frozenset(), blank) / len(shares)
        return {m: share + empty for m, share in shares.items()}

    def output(self, step: Step) -> Tensor:
        fused = super().output(step)
        if off(self.alpha):
            return fused
        shares = self.attributions(step.model, step.features)
        with torch.no_grad():
            kappa = self._coefficients({m: step.cross_entropy(f.detach()).double() for m, f in shares.items()})
        for m, share in shares.items():
            # The value is zero, the gradient that of the share.
            fused = fused + (kappa[m] - 1).to(share.dtype)[..., None, None] * (share - share.detach())
        return fused

    def _coefficients(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """κ from this batch's scores, which enter the running means first."""
        self.count += 1
        kappa: dict[str, Tensor] = {}
        for m, r in lags(scores).items():
            self.usual[m] = self.usual[m] + (r - self.usual[m]) / self.count
            kappa[m] = torch.exp(per_replicate(self.alpha, r) * (self.usual[m] - r).clamp(max=self.cap))
        return kappa

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        total = gradients.total()
        if off(self.alpha) or math.isinf(self.clip):
            return total
        factor = self.clip / torch.linalg.vector_norm(total, dim=-1, keepdim=True).clamp(min=self.clip)
        if isinstance(self.alpha, Tensor):
            factor = torch.where(self.alpha.unsqueeze(-1) > 0, factor, 1)
        return total.mul_(factor)

    def state_dict(self) -> dict[str, Tensor]:
        return {"count": torch.tensor(self.count), **{f"usual {m}": r for m, r in self.usual.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.count = int(state["count"])
        self.usual = {m: state[f"usual {m}"].clone() for m in self.usual}

    def neutral(self) -> Method:
        return AGM(0.0)


def lags(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""r_m = exp(M/(M − 1)(mean score − own score)): at M = 2 the exponential of the other's cross-entropy minus one's own.

    >>> {m: round(float(r), 4) for m, r in lags({"a": torch.tensor(0.0), "b": torch.tensor(1.0)}).items()}
    {'a': 2.7183, 'b': 0.3679}
    """
    several = len(scores) / (len(scores) - 1)
    mean = torch.stack(list(scores.values())).mean(0)
    return {m: torch.exp(several * (mean - s)) for m, s in scores.items()}
