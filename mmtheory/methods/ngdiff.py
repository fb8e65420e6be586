"""NGDiff for multi-modal training: fused and unimodal gradients of an encoder, each made one long, added."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory import moo
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._method import Card, Step, Strength
from ._strengths import ranged
from .combined import FUSED, Combined, Scope

FACTOR = "factor"


@final
class NGDiff(Combined):
    r"""The sum of unit gradients.

    .. math:: d_m = g^m_{\mathrm{fused}} / \|g^m_{\mathrm{fused}}\| + g^m_{\mathrm{own}} / \|g^m_{\mathrm{own}}\|

    Every objective is learnt (all signs +1), none can outshout another, and the two slopes are ‖g‖(1 + cos) ≥ 0. The step no longer
    shrinks with the loss: without a falling schedule the weights do not settle. Its scale is that of unit gradients, not of joint
    training's; sweep the learning rate.

    :param weight: factor on the unimodal losses, of which only its being zero or not matters to the encoders.
    :param scope: see ``Combined``.
    :param automatic: let GeN set the length of the optimiser's move: a factor a replicate, which starts at 1 and follows the exact line
        search of a parabola through the fused loss of the same batch before, after and behind the move.
    :param memory: of the factor, see ``moo.gen_rate``.
    :param every: steps between two fits; the factor holds in between.
    :raises ArgumentError: memory outside [0, 1], no steps between fits.

    Source: Bu et al. 2025 (paper; there one objective is unlearnt); Bu & Xu 2025, GeN (paper).
    """

    card: ClassVar[Card] = Card(
        name="ngdiff",
        source="Bu et al. 2025",
        summary="Adds the unit vectors of an encoder's fused and unimodal gradients.",
        fidelity="reconstruction",
        cost="1F + 2B",
        differences=(
            "the paper retains one objective and forgets the other (signs +1, −1); here both are learnt, the multi-modal reading of it",
            "the automatic learning rate (GeN) is off by default, because every method is given the same optimiser; automatic = True fits it every "
            "few steps on the fused loss of the step's own batch, where the released code of GeN takes the next batch and demands R² > 0.99",
        ),
    )

    def __init__(
        self,
        *,
        weight: Strength = 1.0,
        scope: Scope = "encoder",
        automatic: bool = False,
        memory: float = 0.9,
        every: int = 4,
    ) -> None:
        super().__init__("ngdiff", weight=weight, scope=scope)
        self.automatic, self.held = automatic, float(ranged("ngdiff: memory", memory, 0, 1))
        if every < 1:
            raise ArgumentError(f"ngdiff: expected every to be at least 1, found {every}")
        self.every = every
        # Only the automatic rate needs to see the optimiser's move.
        vars(self)["needs"] = frozenset({"update"} if automatic else ())

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        objectives = 2 if self.scope == "encoder" else len(model.modalities) + 1
        self.weighting = moo.NGDiff(signs=(1,) * objectives)
        self.factor = torch.ones(model.batch_shape, dtype=torch.float64, device=draws.device)
        super().bind(model, draws)

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        move = flat.data - before
        if step.index % self.every == 0:

            def fused(at: Tensor) -> Tensor:
                flat.data.copy_(at)
                features = step.model.encode(step.batch.x, step.phase.hear)
                return step.loss(step.model.fuse(features, step.phase.hear, step.batch.present))

            # Parameters are of the model's type, the factor is not: a parabola needs the digits.
            start, u = before.double(), move.double()
            self.factor = moo.gen_step(fused, start, u, self.factor, self.seen[FUSED], memory=self.held)
        flat.data.copy_(before + self.factor[..., None].to(move.dtype) * move)

    def state_dict(self) -> dict[str, Tensor]:
        return super().state_dict() | ({FACTOR: self.factor} if self.automatic else {})

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        super().load_state_dict(state)
        if self.automatic:
            self.factor = state[FACTOR].clone()
