"""Gradient-Blending: losses weighed by how well each of them generalises over how much it overfits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_logits, head_of, unimodal_heads
from ._late import own_loss
from ._measures import by_parts, own_losses, split_of
from ._method import Card, Method, Step, Strength, View, per_replicate, required
from ._strengths import off, ranged
from .joint import Joint
from .unimodal import Unimodal

FUSED = "fused"  # a loss, not a modality: modalities keep their names


def blend(gain: Tensor, overfitting: Tensor, *, floor: float = 1e-2) -> Tensor:
    r"""Weights of several losses from their generalisation gain and their growth of overfitting.

    .. math:: w_k = \frac{1}{Z}\, \frac{\Delta G_k}{\Delta O_k^2}

    A loss without gain weighs nothing; where none has any, all weigh alike.

    Shape: [*batch, losses].

    :param floor: least overfitting that is believed; below it a weight would be noise over nothing.

    Source: Wang, Tran, Feiszli 2020 (optimal for uncorrelated overfitting).

    >>> blend(torch.tensor([1.0, 1.0, -1.0]), torch.tensor([0.1, 0.2, 0.1])).tolist()
    [0.800000011920929, 0.20000000298023224, 0.0]
    """
    raw = gain.clamp(min=0) / overfitting.abs().clamp(min=floor) ** 2
    total = raw.sum(-1, keepdim=True)
    return torch.where(total > 0, raw / torch.where(total > 0, total, 1.0), 1 / gain.shape[-1])


class _Alone(Unimodal):
    """Unimodal training that keeps its heads to be looked at."""

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        self.heads = super().auxiliary(model, draws)
        return self.heads


@final
class GBlend(Method):
    r"""Weights from a trial run before every super-epoch.

    .. math:: L = w_0\,\mathrm{CE}(o, y) + \sum_m w_m\,\mathrm{CE}(h_m(z_m), y)

    Copies of the model go on from where it is for one super-epoch, one on the fused loss and one on all unimodal losses, which is M copies
    in one because no unimodal loss reaches another's encoder. From train and validation losses before and after follow ΔG, ΔO and the
    weights. They sum to one: beside joint training the fused loss counts less.

    :param strength: weights are 1 − s times joint training's plus s times these; 0 is joint training bit for bit.
    :param super_epoch: epochs between measurements (online); None measures once, over a whole training (offline).
    :param floor: see ``blend``.
    :param final: the final validation loss in place of the gain and the final gap in place of its growth, the default of MultiBench: a
        modality that learns nothing then weighs more.

    Source: Wang, Tran, Feiszli 2020 (CVPR).
    """

    card: ClassVar[Card] = Card(
        name="gblend",
        source="Wang, Tran, Feiszli 2020 (CVPR)",
        summary="Weighs fused and unimodal losses by overfitting-to-generalisation ratios from trial runs.",
        fidelity="paper",
        cost="1F + 1B and M linear heads, trial runs of 2(F + B) a step",
        neutral="strength = 0",
        differences=(
            "gains and overfitting are differences between two checkpoints as in the paper; MultiBench's default takes the final loss and gap (final = True)",
            "weights come from the validation split; BalanceBenchmark takes sums over the test loader",
            "negative gains weigh nothing; public codes take absolute values, which rewards a head that got worse",
            "the M unimodal trial runs are one, trial optimisers start afresh; strength is ours, for dose-response",
        ),
    )
    needs: ClassVar[frozenset[str]] = frozenset({"validation"})
    why_classes: ClassVar[str] = ""

    def __init__(
        self, strength: Strength = 1.0, *, super_epoch: int | None = 10, floor: float = 1e-2, final: bool = False
    ) -> None:
        if (super_epoch is not None and super_epoch < 1) or not floor > 0:
            raise ArgumentError(f"gblend: expected super_epoch >= 1 and floor > 0, found {super_epoch} and {floor}")
        self.strength = ranged("gblend: strength", strength, 0, 1)
        self.super_epoch, self.floor, self.final = super_epoch, floor, final

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return unimodal_heads(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.names = (FUSED, *(head_of(m) for m in model.modalities))
        like = next(model.parameters()).detach()
        self.weights = like.new_full((*model.batch_shape, len(self.names)), 1 / len(self.names))

    def on_epoch(self, view: View) -> None:
        due = view.epoch == 0 if self.super_epoch is None else view.epoch % self.super_epoch == 0
        if off(self.strength) or not due:
            return
        fused = view.fit(Joint(), self.super_epoch, continued=True)
        alone = _Alone()
        encoders = view.fit(alone, self.super_epoch, continued=True)
        heads = {m: view.auxiliary[head_of(m)] for m in view.model.modalities}
        trained = {m: alone.heads[head_of(m)] for m in view.model.modalities}
        before, after = (
            torch.stack([objectives(*models, split) for split in (view.train, split_of(view))])
            for models in ((view.model, view.model, heads), (fused, encoders, trained))
        )
        if self.final:
            self.weights = blend(after[1], after[1] - after[0], floor=self.floor)
            return
        gain = before[1] - after[1]
        overfitting = (after[1] - after[0]) - (before[1] - before[0])
        self.weights = blend(gain, overfitting, floor=self.floor)

    def losses(self, step: Step) -> dict[str, Tensor]:
        fused = step.loss(required(step.logits))
        if off(self.strength):
            return {"total": fused}
        own = [own_loss(step, m, f) for m, f in head_logits(step).items()]
        s = per_replicate(self.strength, fused)
        first, *rest = self.weights.unbind(-1)
        unimodal = torch.stack([w * loss for w, loss in zip(rest, own, strict=True)]).sum(0)
        return {"total": (1 + s * (first - 1)) * fused + s * unimodal}

    def state_dict(self) -> dict[str, Tensor]:
        return {"weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.weights = state["weights"].clone()

    def neutral(self) -> Method:
        return GBlend(0.0)


def objectives(
    model: MultimodalModel, encoders: MultimodalModel, heads: Mapping[str, nn.Module], data: Batch
) -> Tensor:
    """Loss of the fused output of one model and of each head on the encoders of another, [*batch, M + 1]."""

    def look(part: Batch) -> dict[str, Tensor]:
        features = encoders.encode(part.x)
        return {m: heads[m](z) for m, z in features.items()}

    fused = by_parts(data, lambda part: {FUSED: model(part.x, None, part.present).logits})
    own = own_losses(by_parts(data, look), data)
    return torch.stack([*own_losses(fused, data).values(), *(own[m] for m in model.modalities)], -1)
