"""FAMO: fused and unimodal losses fall at one relative rate, by weights that learn from what each step did to the losses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory import moo
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, unimodal_heads
from ._late import own_loss
from ._memory import folded, unfolded
from ._method import Card, Method, Step, required

FLOOR = -1e-8
"""Below every loss, as in the released code: cross-entropies come down to 0 and their logarithm must not."""


@final
class FAMO(Method):
    r"""Fast adaptive multitask optimisation of the fused and the M unimodal losses.

    .. math:: L = \sum_k w_k f_k, \qquad w_k \propto z_k / f_k, \quad z = \mathrm{softmax}(\xi)

    After the step the same batch's losses are taken once more, and Adam moves ξ along Jac(softmax)ᵀ(log f_before − log f_after), as in
    the public code: who fell least is weighed more. The weights are convex, so that the step is 1/(M + 1) of the uniform multi-loss's where all losses are equal;
    a comparison has to sweep the learning rate.

    A loss of exactly 0, that of a modality absent from the whole batch, has no weight and teaches ξ nothing.

    :param rate: learning rate of ξ; 0 keeps z uniform, so that weights are 1/f.
    :param decay: weight decay of ξ.
    :raises ArgumentError: a negative rate or decay.

    Source: Liu, Feng, Stone, Liu 2023 (NeurIPS), algorithm 1 and public code.
    """

    card: ClassVar[Card] = Card(
        name="famo",
        source="Liu, Feng, Stone, Liu 2023 (NeurIPS)",
        summary="Weighs fused and unimodal losses by logits that follow how much each of them fell in the last step.",
        fidelity="paper",
        cost="2F + 1B: every batch's losses are taken again after the step",
        differences=(
            "the paper's tasks share all parameters; here a unimodal loss reaches its own encoder and head alone",
            "a loss of exactly 0 (a modality absent from the whole batch) is left out",
        ),
    )
    why_classes: ClassVar[str] = ""

    def __init__(self, rate: float = 0.025, *, decay: float = 1e-3) -> None:
        self.rule = moo.FAMO(rate=rate, decay=decay, floor=FLOOR)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        like = next(model.parameters())
        self.memory = self.rule.initial(
            like.new_zeros(*model.batch_shape, 1 + len(model.modalities), dtype=torch.float64)
        )

    def losses(self, step: Step) -> dict[str, Tensor]:
        each = self._each(step)
        self.before = each.detach().double()
        # An infinite loss has weight 0; where none is left, there is nothing to weigh.
        seen = torch.where(self.before > 0, self.before, torch.inf)
        weights = self.rule.weights(seen, self.memory).nan_to_num(0.0)
        return {"total": (weights.to(each.dtype) * each).sum(-1)}

    def _each(self, step: Step) -> Tensor:
        """The fused loss and each modality's own, by alphabet, [*batch, 1 + M]."""
        own = {m: own_loss(step, m, f) for m, f in head_logits(step).items()}
        return torch.stack([step.loss(required(step.logits)), *(own[m] for m in sorted(own))], -1)

    def after_step(self, step: Step) -> None:
        features = step.model.encode(step.batch.x)
        moved = replace(step, features=features, logits=step.model.fuse(features, None, step.batch.present))
        after = self._each(moved).double()
        live = (self.before > 0) & (after > 0) & self.before.isfinite() & after.isfinite()
        self.memory = self.rule.updated(self.memory, torch.where(live, self.before, 1.0), torch.where(live, after, 1.0))

    def state_dict(self) -> dict[str, Tensor]:
        return {str(i): t for i, t in enumerate(unfolded(self.memory))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.memory = folded(self.memory, [state[str(i)] for i in range(len(unfolded(self.memory)))])
