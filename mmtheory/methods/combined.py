"""Any weighting of ``mmtheory.moo`` in the loop: each encoder's fused and unimodal gradients joined by weights from their Gramian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.moo import IN_LOOP, GramianAccumulator, InLoop, track
from mmtheory.rng import Draws

from ._heads import head_logits, unimodal_heads
from ._late import own_loss
from ._memory import folded, unfolded
from ._method import Card, Gradients, Method, Phase, Step, Strength, per_replicate, required
from ._strengths import ranged

Scope = Literal["encoder", "joint"]
FUSED, OWN, TRACKED = "fused", "own", "tracked "
PIECE = 1 << 16


class TwoRows(Method):
    r"""What methods on several objectives share: the fused loss and the unimodal ones, differentiated separately.

    No unimodal loss reaches another modality's encoder, so that their sum is one row whose columns are each modality's own: two
    backwards serve M + 1 objectives. Everything but the encoders (heads, fusion) is given the sum of its rows.

    :param weight: factor on the unimodal losses.
    """

    why_classes: ClassVar[str] = ""

    def __init__(self, weight: Strength = 1.0) -> None:
        self.weight = ranged(f"{self.card.name}: weight", weight)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return (Phase(rows=(FUSED, OWN)),)

    def losses(self, step: Step) -> dict[str, Tensor]:
        fused = step.loss(required(step.logits))
        own = {m: own_loss(step, m, f) for m, f in head_logits(step).items()}
        own = {m: per_replicate(self.weight, loss) * loss for m, loss in own.items()}
        self.seen = {FUSED: fused.detach(), **{m: loss.detach() for m, loss in own.items()}}
        return {FUSED: fused, OWN: torch.stack(list(own.values())).sum(0)}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        for owner in gradients.flat.columns:
            fused, own = gradients.owned(FUSED, owner), gradients.owned(OWN, owner)
            if owner in step.features:
                self.join(gradients, owner, fused, own)
            else:
                fused.add_(own)
        return gradients.rows[FUSED]

    def join(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        """Make the fused row of an encoder [*batch, P_m] its gradient, in place."""
        fused.add_(own)


class Combined(TwoRows):
    r"""A weighting w of the Gramian decides how each encoder's fused and unimodal gradients add up.

    .. math:: d_m = w^m_0\, g^m_{\mathrm{fused}} + w^m_1\, g^m_{\mathrm{own}}, \qquad w^m = \mathcal{A}(J_m J_m^\top)

    :param weighting: a name of ``moo.IN_LOOP`` or anything that is ``moo.InLoop``, also an ``EPO``, which looks at the losses. Most give convex
        weights: the step is then about half of the uniform multi-loss's, which a comparison has to make up for by sweeping the learning rate.
    :param weight: factor on the unimodal losses.
    :param scope: ``encoder`` solves for each encoder on its own, m = 2; ``joint`` once for the fused and all M unimodal losses over the
        encoders together, m = M + 1.
    :param beta: share of the fresh gradients in the tracked ones, y ← y + β(g − y), which weights and move are then taken from; 1 tracks
        nothing, 0 stays with the first step's. None is 1, but 1/2 for MoCo, whose point it is.
    :raises ArgumentError: an unknown weighting or scope, beta outside [0, 1].
    """

    card: ClassVar[Card] = Card(
        name="moo",
        source="mmtheory.moo, each weighting with its own source",
        summary="Joins fused and unimodal gradients of every encoder by the weights of a multi-objective method.",
        fidelity="paper",
        cost="1F + 2B, one Gramian and one solve an encoder",
        differences=(
            "the released codes of most weightings take all parameters as one block; scope = 'joint' is that, over the encoders",
            "MoDo and SDMGrad are given the Gramian of one batch; the papers multiply the gradients of two",
            "FAMO, which needs the losses once more after the step, and GradDrop, which has no weights, are methods of their own",
        ),
    )

    def __init__(
        self,
        weighting: str | InLoop = "upgrad",
        *,
        weight: Strength = 1.0,
        scope: Scope = "encoder",
        beta: float | None = None,
    ) -> None:
        super().__init__(weight)
        if isinstance(weighting, str) and weighting not in IN_LOOP:
            raise ArgumentError(f"moo: expected a weighting among {', '.join(sorted(IN_LOOP))}, found {weighting!r}")
        if scope not in {"encoder", "joint"}:
            raise ArgumentError(f"moo: expected scope encoder or joint, found {scope!r}")
        self.weighting: InLoop = IN_LOOP[weighting]() if isinstance(weighting, str) else weighting
        self.scope: Scope = scope
        self.beta = self.weighting.fresh if beta is None else float(ranged("moo: beta", beta, 0, 1))
        self.memory: dict[str, Any] = {}
        self.tracked: dict[str, Tensor] = {}

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        """Where the weighting remembers: one memory a solve, as before its first step."""
        solves, m = (model.modalities, 2) if self.scope == "encoder" else (("joint",), len(model.modalities) + 1)
        self.tracked = {}
        like = torch.eye(m, dtype=torch.float64, device=draws.device).expand(*model.batch_shape, m, m)
        self.memory = {name: self.weighting.begun(like) for name in solves}

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        if self.beta < 1:
            self._track(step, gradients)
        if self.scope == "encoder":
            return super().on_gradients(step, gradients)
        names = list(step.features)
        pairs = [(gradients.owned(FUSED, m), gradients.owned(OWN, m)) for m in names]
        w = self.solved("joint", arrow(pairs)).to(pairs[0][0].dtype)
        for owner in gradients.flat.columns:
            fused, own = gradients.owned(FUSED, owner), gradients.owned(OWN, owner)
            k = 1 + names.index(owner) if owner in names else 0
            if k:
                blend(fused, own, w[..., [0, k]])
            else:
                fused.add_(own)
        return gradients.rows[FUSED]

    def _track(self, step: Step, gradients: Gradients) -> None:
        """Make the encoders' rows tracked ones, which begin at the first step's."""
        for row, fresh in gradients.rows.items():
            old = self.tracked.setdefault(row, fresh.clone())
            for columns in (gradients.flat.columns[m] for m in step.features):
                track([old[..., columns]], [fresh[..., columns]], self.beta)
                fresh[..., columns] = old[..., columns]

    def join(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        blend(fused, own, self.solved(modality, pair(fused, own)).to(fused.dtype))

    def solved(self, name: str, G: Tensor) -> Tensor:
        """The weights of one solve; its memory moves on."""
        names = list(self.seen) if name == "joint" else [FUSED, name]
        losses = torch.stack([self.seen[k] for k in names], -1).double()
        w, self.memory[name] = self.weighting.taken(G, losses, self.memory[name])
        return w

    def state_dict(self) -> dict[str, Tensor]:
        memory = {f"{name} {i}": t for name, state in self.memory.items() for i, t in enumerate(unfolded(state))}
        return {**memory, **{f"{TRACKED}{row}": t for row, t in self.tracked.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.tracked = {k.removeprefix(TRACKED): t.clone() for k, t in state.items() if k.startswith(TRACKED)}
        for name, old in self.memory.items():
            self.memory[name] = folded(old, [state[f"{name} {i}"] for i in range(len(unfolded(old)))])


def blend(fused: Tensor, own: Tensor, weights: Tensor) -> None:
    """w₀ fused + w₁ own [*batch, P] in place of the former, on a CPU by pieces that stay in its cache between the two operations.

    Shape: weights [*batch, 2].

    >>> a = torch.ones(3); blend(a, torch.ones(3), torch.tensor([2.0, 1.0])); a.tolist()
    [3.0, 3.0, 3.0]
    """
    first, second = weights[..., :1], weights[..., 1:]
    size = PIECE if fused.device.type == "cpu" else fused.shape[-1]
    for a, b in zip(fused.split(size, -1), own.split(size, -1), strict=True):
        a.mul_(first).addcmul_(b, second)


def pair(fused: Tensor, own: Tensor) -> Tensor:
    """Gramian [*batch, 2, 2] of two gradients [*batch, P] in float64, without putting them side by side.

    >>> pair(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    total = GramianAccumulator(2, tuple(fused.shape[:-1]), fused.device)
    total.add([fused, own])
    return total.total


def arrow(rows: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Gramian [*batch, M + 1, M + 1] of the fused and the M unimodal gradients, of which no two unimodal ones overlap.

    >>> arrow([(torch.tensor([1.0]), torch.tensor([2.0]))]).tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """
    blocks = [pair(fused, own) for fused, own in rows]
    size = len(blocks) + 1
    G = blocks[0].new_zeros(*blocks[0].shape[:-2], size, size)
    for k, block in enumerate(blocks, 1):
        G[..., 0, 0] += block[..., 0, 0]
        G[..., k, k] = block[..., 1, 1]
        G[..., 0, k] = G[..., k, 0] = block[..., 0, 1]
    return G
