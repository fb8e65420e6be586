"""MIMO-style training: the fused loss plus a smooth maximum of the unimodal ones, one scalar and one backward."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.models import MultimodalModel
from mmtheory.moo import smooth_max
from mmtheory.rng import Draws

from ._heads import head_logits, unimodal_heads
from ._late import own_loss
from ._method import Card, Method, Step, Strength, per_replicate
from ._strengths import off, ranged


@final
class MIMO(Method):
    r"""The worst modality first, as a penalty.

    .. math:: \Phi = f_0 + \lambda\,\mu \log \sum_m e^{f_m/\mu}

    The unimodal losses get weights λ softmax(f/μ), which sum to λ: as μ → ∞ it is uniform multi-loss with weight λ/M (up to a constant),
    as μ → 0 only the worst modality is helped. Encoders being separate, the minimisers of the smooth maximum are those of each unimodal
    loss for every μ: what balancing there is lives at finite λ and μ.

    :param lam: λ; 0 is joint training bit for bit.
    :param mu: μ > 0, in units of the losses (nat for cross-entropy).

    Source: Fernando et al. 2025, arXiv:2511.06686 (abstract); formulas derived here (``moo.SmoothLexicographic``).
    """

    card: ClassVar[Card] = Card(
        name="mimo",
        source="Fernando et al. 2025, arXiv:2511.06686 (abstract)",
        summary="Adds a smooth maximum of the unimodal losses to the fused one.",
        fidelity="reconstruction",
        cost="1F + 1B and M linear heads",
        neutral="lam = 0",
        differences=(
            "neither the paper's text nor its code could be read: objective, constants and heads are a reconstruction from the abstract",
        ),
    )
    why_classes: ClassVar[str] = ""

    def __init__(self, lam: Strength = 1.0, *, mu: float = 0.1) -> None:
        self.lam, self.mu = ranged("mimo: lam", lam), mu
        smooth_max(torch.zeros(1), mu)  # refuses what is no smoothing

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        if off(self.lam):
            return losses
        own = torch.stack([own_loss(step, m, f) for m, f in head_logits(step).items()], -1)
        total = losses["total"]
        return {"total": total + per_replicate(self.lam, total) * smooth_max(own, self.mu)}

    def neutral(self) -> Method:
        return MIMO(0.0)
