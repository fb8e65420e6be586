"""MinVI: a shared layer that learns to predict every modality from the others, then a classifier on it, fine-tuned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, Encoder, MultimodalModel
from mmtheory.models.rbm import Direction, Group, Hidden, directions, recurrent
from mmtheory.rng import Draws

from ._filling import HEAD, TOP, clamped, top_of
from ._measures import where_present
from ._method import Card, Method, Step, Strength, View
from ._strengths import off, ranged

MOST = 4096
"""Numbers of a sample that are predicted; of more, means over neighbours."""
ENOUGH = 1024
"""Training samples from which the moments of the data are taken."""
FARTHEST = 10.0
"""Deviations at which a number to predict is cut."""


@final
class MinVI(Method):
    r"""Minimum variation of information: pathways, a shared layer with recurrent inference, a classifier on the shared layer.

    .. math:: p_m = \sigma(P_m z_m), \quad h = \sigma\Big(b + \sum_m W_m^\top p_m\Big), \quad
        L_{VI} = \sum_m \frac{1}{2 D_m} \big\|x_m - Q_m \hat p_m(p_{\setminus m})\big\|^2, \quad L = \mathrm{CE}(C h, y) + w L_{VI}

    where :math:`\hat p_m` comes from n recurrent sweeps with the other modalities clamped. In the first ``pretrain`` epochs the labels
    reach the classifier alone. Modalities that are absent from a sample are filled in by the same sweeps, in training and at test time.

    :param weight: w; the number 0 drops pathways and shared layer and is joint training bit for bit.
    :param pretrain: epochs before the labels reach the shared layer; 0 learns everything at once.
    :param sweeps: n; 0 reads the prediction off the first guess.
    :param units: width of a pathway's end. ``hidden``: of the shared layer.
    :param direction: ``both`` predicts every modality from all others, ``x->y`` y from x alone, ``->y`` y from all others.
    :param keep: largest share of a target's units that are clamped too, drawn anew each step; 0 for none.
    :raises ArgumentError: a number out of its range; when bound, a direction or a number of modalities that it cannot serve.

    Source: Sohn, Shang and Lee 2014 (NIPS), multi-prediction training and fine-tuning (code).
    """

    card: ClassVar[Card] = Card(
        name="minvi",
        source="Sohn, Shang and Lee 2014 (NIPS)",
        summary="Learns a shared layer that predicts every modality from the others by recurrent inference, then classifies on it.",
        fidelity="reconstruction",
        cost="1F + 1B of the encoders, 12n + 10 small products of a shared layer for two modalities, no fusion",
        neutral="weight = 0",
        differences=(
            "multi-prediction with n mean-field sweeps, the doubled first guess and partial clamping are the released ones",
            "the shared layer takes any number of modalities: each is predicted from all the others",
            "pathways are the model's encoder and one sigmoid layer, and data are read off by one linear layer; the released pathways are two "
            "tied layers pre-trained as Boltzmann machines, whose sweeps go down to the data (models.rbm.MultimodalDeepRNN)",
            "data are standardised numbers with squared error, averaged over the numbers of a modality; released data are bits",
            "the first guess counts the given modalities (M - keep u)/(number given) times with the drawn u; the released code takes u = 1",
            "the classifier is trained beside the shared layer and then through it; the released one is fitted to the finished features",
            "no sparsity penalty; optimiser and schedule are the trainer's",
            "weight is ours, for dose-response",
        ),
    )

    def __init__(
        self,
        weight: Strength = 1.0,
        *,
        pretrain: int = 10,
        sweeps: int = 5,
        units: int = 64,
        hidden: int = 128,
        direction: str = "both",
        keep: float = 0.0,
    ) -> None:
        if pretrain < 0 or sweeps < 0 or units < 1 or hidden < 1:
            raise ArgumentError(
                f"minvi: expected pretrain, sweeps >= 0 and units, hidden >= 1, found {pretrain}, {sweeps}, {units}, {hidden}"
            )
        self.weight, self.keep = (
            ranged("minvi: weight", weight),
            float(cast("float", ranged("minvi: keep", keep, 0, 1))),
        )
        self.pretrain, self.sweeps, self.units, self.hidden = pretrain, sweeps, units, hidden
        self.direction = direction
        self.moments: dict[str, tuple[Tensor, Tensor]] = {}

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.ways: tuple[Direction, ...] = () if off(self.weight) else directions(model.modalities, self.direction)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        if off(self.weight):  # idle parameters too would shift the others in memory, which rounds differently
            return {}
        dtype = next(model.parameters()).dtype
        parts: dict[str, nn.Module] = {}
        groups: list[Group] = []
        for m in model.modalities:
            numbers = min(MOST, math.prod(_encoder(model, m).shape))
            parts[f"path:{m}"] = Dense(model.width(m), self.units, draws=draws, name=f"path:{m}", dtype=dtype)
            parts[f"data:{m}"] = Dense(self.units, numbers, draws=draws, name=f"data:{m}", dtype=dtype)
            deviation = 1 / math.sqrt(self.units)
            groups.append(
                Group(self.units, self.hidden, draws=draws, name=f"top:{m}", deviation=deviation, dtype=dtype)
            )
            parts[f"top:{m}"] = groups[-1]
        parts[TOP] = Hidden(groups[0])
        parts[HEAD] = Dense(self.hidden, model.fusion.classes, draws=draws, name=HEAD, dtype=dtype)
        return parts

    def on_epoch(self, view: View) -> None:
        if off(self.weight):
            return
        for m in view.model.modalities:
            some = view.train.rows(slice(ENOUGH))
            x = self._numbers(view.model, some, m)
            here = some.present.get(m)
            share = torch.ones_like(x[..., :1]) if here is None else here.unsqueeze(-1).to(x.dtype)
            count = share.sum(-2, keepdim=True).clamp(min=1)
            mean = (share * x).sum(-2, keepdim=True) / count
            spread = ((share * (x - mean).square()).sum(-2, keepdim=True) / count).sqrt()
            self.moments[m] = mean, spread + 1e-6

    def output(self, step: Step) -> Tensor:
        if off(self.weight):
            return super().output(step)
        h = self.shared(step.auxiliary, step.features, step.batch.present)
        return step.auxiliary[HEAD](h.detach() if step.epoch < self.pretrain else h)

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        return losses if off(self.weight) else {"total": losses["total"] + self.weight * self.variation(step)}

    def shared(self, auxiliary: nn.ModuleDict, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Probabilities of the shared layer, absent modalities filled in by sweeps; [*batch, n, hidden].

        :param features: of the modalities heard; all others count as absent.
        """
        machine, p = top_of(auxiliary), self._pathways(auxiliary, features)
        if not present and len(p) == len(machine.groups):
            return torch.sigmoid(machine.drive(p))
        seen, boost = clamped(p, present, len(machine.groups))
        return recurrent(machine, p, sweeps=self.sweeps, seen=seen, boost=boost).hidden

    def variation(self, step: Step) -> Tensor:
        """L_VI, the mean over the samples that have the target, summed over the directions: [*batch]."""
        machine, p = top_of(step.auxiliary), self._pathways(step.auxiliary, step.features)
        present = step.batch.present
        losses: list[Tensor] = []
        for way in self.ways:
            target = way.target
            given = {m: p[m] for m in way.given}
            kept = torch.zeros_like(p[target][..., :1, :1])
            if self.keep:
                kept = self.keep * step.draws.uniform(f"share {target}", 1, 1).to(p[target].dtype)
            seen, boost = clamped(given, present, len(machine.groups) - kept)
            if self.keep:
                mask = step.draws.uniform(f"keep {target}", *p[target].shape[-2:]).to(p[target].dtype) < kept
                given[target] = p[target].detach()
                seen[target] = mask if target not in present else mask & present[target].unsqueeze(-1)
            found = recurrent(machine, given, sweeps=self.sweeps, seen=seen, boost={**boost, target: 1.0})
            guess = step.auxiliary[f"data:{target}"](torch.sigmoid(found.logits[target]))
            losses.append(self._error(step, target, guess))
        return torch.stack(losses).sum(0)

    def _error(self, step: Step, m: str, guess: Tensor) -> Tensor:
        mean, spread = self.moments[m]
        data = ((self._numbers(step.model, step.batch, m) - mean) / spread).clamp(-FARTHEST, FARTHEST)
        square = (guess - data).square().mean(-1) / 2
        return where_present(square, step.batch, m)

    def _numbers(self, model: MultimodalModel, batch: Batch, m: str) -> Tensor:
        """A modality's data as rows of at most ``MOST`` numbers, [*batch, n, D_m]."""
        flat = batch.x[m].flatten(-len(_encoder(model, m).shape)).to(next(model.parameters()))
        if flat.shape[-1] <= MOST:
            return flat
        return adaptive_avg_pool1d(flat.flatten(0, -2), MOST).reshape(*flat.shape[:-1], MOST)

    def _pathways(self, auxiliary: nn.ModuleDict, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {m: torch.sigmoid(auxiliary[f"path:{m}"](z)) for m, z in features.items()}

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        if off(self.weight):
            return super().predict(model, auxiliary, batch)
        return auxiliary[HEAD](self.shared(auxiliary, model.encode(batch.x), batch.present))

    def neutral(self) -> Method:
        return MinVI(0.0)


def _encoder(model: MultimodalModel, m: str) -> Encoder:
    return cast("Encoder", model.encoders[m])
