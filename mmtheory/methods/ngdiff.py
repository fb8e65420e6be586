"""NGDiff for multi-modal training: fused and unimodal gradients of an encoder, each made one long, added."""

from __future__ import annotations

from typing import ClassVar, final

from mmtheory import moo
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._method import Card, Strength
from .combined import Combined, Scope


@final
class NGDiff(Combined):
    r"""The sum of unit gradients.

    .. math:: d_m = g^m_{\mathrm{fused}} / \|g^m_{\mathrm{fused}}\| + g^m_{\mathrm{own}} / \|g^m_{\mathrm{own}}\|

    Every objective is learnt (all signs +1), none can outshout another, and the two slopes are ‖g‖(1 + cos) ≥ 0. The step no longer
    shrinks with the loss: without a falling schedule the weights do not settle. Its scale is that of unit gradients, not of joint
    training's; sweep the learning rate.

    :param weight: factor on the unimodal losses, of which only its being zero or not matters to the encoders.
    :param scope: see ``Combined``.

    Source: Bu et al. 2025 (paper; there one objective is unlearnt).
    """

    card: ClassVar[Card] = Card(
        name="ngdiff",
        source="Bu et al. 2025",
        summary="Adds the unit vectors of an encoder's fused and unimodal gradients.",
        fidelity="reconstruction",
        cost="1F + 2B",
        differences=(
            "the paper retains one objective and forgets the other (signs +1, −1); here both are learnt, the multi-modal reading of it",
            "the automatic learning rate (GeN) is moo.gen_rate and is not part of the method: every method is given the same optimiser",
        ),
    )

    def __init__(self, *, weight: Strength = 1.0, scope: Scope = "encoder") -> None:
        super().__init__("ngdiff", weight=weight, scope=scope)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        objectives = 2 if self.scope == "encoder" else len(model.modalities) + 1
        self.weighting = moo.NGDiff(signs=(1,) * objectives)
        super().bind(model, draws)
