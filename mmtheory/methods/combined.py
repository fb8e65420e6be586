"""Any weighting of ``mmtheory.moo`` in the loop: each encoder's fused and unimodal gradients joined by weights from their Gramian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.moo import WEIGHTINGS, Stateful, Weighting, gramian
from mmtheory.rng import Draws

from ._heads import head_logits, unimodal_heads
from ._late import own_cross_entropy
from ._memory import folded, unfolded
from ._method import Card, Gradients, Method, Phase, Step, Strength, per_replicate, required
from ._strengths import ranged

Scope = Literal["encoder", "joint"]
FUSED, OWN = "fused", "own"


class TwoRows(Method):
    r"""What methods on several objectives share: the fused loss and the unimodal ones, differentiated separately.

    No unimodal loss reaches another modality's encoder, so that their sum is one row whose columns are each modality's own: two
    backwards serve M + 1 objectives. Everything but the encoders (heads, fusion) is given the sum of its rows.

    :param weight: factor on the unimodal losses.
    """

    def __init__(self, weight: Strength = 1.0) -> None:
        self.weight = ranged(f"{self.card.name}: weight", weight)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return (Phase(rows=(FUSED, OWN)),)

    def losses(self, step: Step) -> dict[str, Tensor]:
        fused = step.cross_entropy(required(step.logits))
        own = torch.stack([own_cross_entropy(step, m, f) for m, f in head_logits(step).items()]).sum(0)
        return {FUSED: fused, OWN: per_replicate(self.weight, own) * own}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        total = gradients.total()
        for m in step.features:
            rows = torch.stack([gradients.owned(FUSED, m), gradients.owned(OWN, m)], -2)
            total[..., gradients.flat.columns[m]] = self.joined(gradients, m, rows)
        return total

    def joined(self, gradients: Gradients, modality: str, rows: Tensor) -> Tensor:
        """One gradient [*batch, P_m] of an encoder from its fused and its unimodal row, [*batch, 2, P_m]."""
        return rows.sum(-2)


class Combined(TwoRows):
    r"""A weighting w of the Gramian decides how each encoder's fused and unimodal gradients add up.

    .. math:: d_m = w^m_0\, g^m_{\mathrm{fused}} + w^m_1\, g^m_{\mathrm{own}}, \qquad w^m = \mathcal{A}(J_m J_m^\top)

    :param weighting: a name of ``moo.WEIGHTINGS`` or an instance. Most give convex weights: the step is then about half of the uniform
        multi-loss's, which a comparison has to make up for by sweeping the learning rate.
    :param weight: factor on the unimodal losses.
    :param scope: ``encoder`` solves for each encoder on its own, m = 2; ``joint`` once for the fused and all M unimodal losses over the
        encoders together, m = M + 1.
    :raises ArgumentError: an unknown weighting or scope.
    """

    card: ClassVar[Card] = Card(
        name="moo",
        source="mmtheory.moo, each weighting with its own source",
        summary="Joins fused and unimodal gradients of every encoder by the weights of a multi-objective method.",
        fidelity="paper",
        cost="1F + 2B, one Gramian and one solve an encoder",
        differences=(
            "the released codes of most weightings take all parameters as one block; scope = 'joint' is that, over the encoders",
        ),
    )

    def __init__(
        self, weighting: str | Weighting = "upgrad", *, weight: Strength = 1.0, scope: Scope = "encoder"
    ) -> None:
        super().__init__(weight)
        if isinstance(weighting, str) and weighting not in WEIGHTINGS:
            raise ArgumentError(f"moo: expected a weighting among {', '.join(sorted(WEIGHTINGS))}, found {weighting!r}")
        if scope not in {"encoder", "joint"}:
            raise ArgumentError(f"moo: expected scope encoder or joint, found {scope!r}")
        self.weighting = WEIGHTINGS[weighting]() if isinstance(weighting, str) else weighting
        self.scope: Scope = scope
        self.memory: dict[str, Any] = {}

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        """Where the weighting remembers: one memory a solve, as before its first step."""
        solves, m = (model.modalities, 2) if self.scope == "encoder" else (("joint",), len(model.modalities) + 1)
        self.memory = {}
        if isinstance(self.weighting, Stateful):
            like = torch.eye(m, dtype=torch.float64, device=draws.device).expand(*model.batch_shape, m, m)
            stateful = cast("Stateful[Any]", self.weighting)
            self.memory = {name: stateful.initial(like) for name in solves}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        if self.scope == "encoder":
            return super().on_gradients(step, gradients)
        total = gradients.total()
        fused = {m: gradients.owned(FUSED, m) for m in step.features}
        own = {m: gradients.owned(OWN, m) for m in step.features}
        w = self.solved("joint", arrow(fused, own)).to(total.dtype)
        for k, m in enumerate(step.features):
            total[..., gradients.flat.columns[m]] = w[..., :1] * fused[m] + w[..., k + 1, None] * own[m]
        return total

    def joined(self, gradients: Gradients, modality: str, rows: Tensor) -> Tensor:
        w = self.solved(modality, gramian(rows)).to(rows.dtype)
        return w[..., :1] * rows[..., 0, :] + w[..., 1:] * rows[..., 1, :]

    def solved(self, name: str, G: Tensor) -> Tensor:
        """The weights of one solve; its memory moves on."""
        if name not in self.memory:
            return self.weighting.weights(G, validate=False)
        w, self.memory[name] = cast("Stateful[Any]", self.weighting).step(G, self.memory[name], validate=False)
        return w

    def state_dict(self) -> dict[str, Tensor]:
        return {f"{name} {i}": t for name, state in self.memory.items() for i, t in enumerate(unfolded(state))}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        for name, old in self.memory.items():
            self.memory[name] = folded(old, [state[f"{name} {i}"] for i in range(len(unfolded(old)))])


def arrow(fused: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Tensor:
    """Gramian [*batch, M + 1, M + 1] of the fused and the M unimodal gradients, of which no two unimodal ones overlap.

    >>> arrow({"a": torch.tensor([1.0])}, {"a": torch.tensor([2.0])}).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    f, o = list(fused.values()), list(own.values())
    size = len(f) + 1
    G = f[0].new_zeros(*f[0].shape[:-1], size, size, dtype=torch.float64)
    for k in range(1, size):
        G[..., 0, 0] += (f[k - 1].double() ** 2).sum(-1)
        G[..., k, k] = (o[k - 1].double() ** 2).sum(-1)
        G[..., 0, k] = G[..., k, 0] = (f[k - 1].double() * o[k - 1].double()).sum(-1)
    return G
