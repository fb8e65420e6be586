"""AUG: sustained boosting of the weaker modality by ever more small classifiers on its encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_of
from ._losses import cross_entropy
from ._measures import by_parts, own_scores, where_present
from ._method import Card, Method, Step, Strength, View, per_replicate, required
from ._strengths import ranged
from .reconboost import summed

LAST = "last layer"


@final
class AUG(Method):
    r"""Residual boosting with as many classifiers as a modality's lag calls for.

    .. math:: \hat y_t = y\,\Bigl(1 - \lambda \sum_{j<t} p_{j,y}\Bigr)_+, \qquad
        L_m = \mathrm{CE}(f_t, \hat y_t) + \mathrm{CE}\Bigl(\sum_{j \le t} f_j, y\Bigr) + \mathrm{CE}\Bigl(\sum_{j<t} f_j, y\Bigr)

    f_j are the logits of the modality's classifiers, the t-th its newest; the last term is left out at t = 1. Every ``every`` epochs a
    modality whose score lags another's by more than ``tau`` gets one more. The fusion is not used: what predicts is the sum of all
    classifiers of all modalities, whose last layer they share.

    :param lam: λ in [0, 1], how much of the label the earlier classifiers take away.
    :param every: epochs between comparisons.
    :param tau: lag in mean label probability that calls for a classifier; inf never boosts.
    :param sigma: factor on the lagging score in the comparison.
    :param boost: ``weaker``, or ``stronger``, as the paper's pseudo-code prints: then whoever leads another by more than tau.
    :param most: classifiers a modality can get.
    :param hidden: width inside a classifier.

    Source: AUG, sustained boosting, NeurIPS 2025 (paper and public code njustkmg/NeurIPS25-AUG).
    """

    card: ClassVar[Card] = Card(
        name="aug",
        source="AUG 2025 (NeurIPS, njustkmg/NeurIPS25-AUG)",
        summary="Adds boosted classifiers to the modality that lags; predicts by the sum of all of them.",
        fidelity="paper",
        cost="1F + 1B of the encoders, M small classifiers of which there may be ever more, no fusion",
        differences=(
            "the paper's text gives the new classifier to the weaker modality and its pseudo-code to the stronger; here the weaker (boost = 'stronger')",
            "sums over classifiers are of logits, scores of the softmax of that sum, so that both stay probabilities",
            "residual labels are kept from going below zero, which several confident classifiers would push them to",
            "all classifiers that can come exist from the start and wait, untrained but for weight decay",
        ),
    )

    def __init__(
        self,
        lam: Strength = 0.33,
        *,
        every: int = 5,
        tau: Strength = 0.01,
        sigma: float = 1.0,
        boost: Literal["weaker", "stronger"] = "weaker",
        most: int = 4,
        hidden: int = 16,
    ) -> None:
        if every < 1 or most < 1 or hidden < 1 or not sigma > 0:
            raise ArgumentError(
                f"aug: expected every, most and hidden >= 1 and sigma > 0, found {every}, {most}, {hidden} and {sigma}"
            )
        if boost not in {"weaker", "stronger"}:
            raise ArgumentError(f"aug: expected boost weaker or stronger, found {boost!r}")
        self.boost = boost
        self.lam, self.tau = ranged("aug: lam", lam, 0, 1), ranged("aug: tau", tau)
        self.every, self.sigma, self.most, self.hidden = every, sigma, most, hidden

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype = next(model.parameters()).dtype
        first = {
            head_of(m): Dense(model.width(m), self.most * self.hidden, draws=draws, name=head_of(m), dtype=dtype)
            for m in model.modalities
        }
        return {**first, LAST: Dense(self.hidden, model.fusion.classes, draws=draws, name=LAST, dtype=dtype)}

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        if len(model.modalities) < 2:
            raise ArgumentError(f"aug: expected at least two modalities, found {list(model.modalities)}")
        like = next(model.parameters()).detach()
        self.count = {m: like.new_ones(model.batch_shape) for m in model.modalities}

    def on_epoch(self, view: View) -> None:
        if view.epoch == 0 or view.epoch % self.every:
            return
        said = by_parts(view.train, lambda part: self.ensembles(view.model.encode(part.x), view.auxiliary))
        score = own_scores(said, view.train)
        for m, own in score.items():
            others = torch.stack([s for j, s in score.items() if j != m])
            lag = others.amax(0) - self.sigma * own if self.boost == "weaker" else own - self.sigma * others.amin(0)
            more = lag > per_replicate(self.tau, own)
            self.count[m] = (self.count[m] + more).clamp(max=self.most)

    def classifiers(self, features: Mapping[str, Tensor], auxiliary: nn.ModuleDict) -> dict[str, Tensor]:
        """Logits of every classifier that can come, [*batch, most, n, classes]."""
        found: dict[str, Tensor] = {}
        for m, z in features.items():
            inner = auxiliary[head_of(m)](z).relu().unflatten(-1, (self.most, self.hidden)).transpose(-3, -2)
            found[m] = auxiliary[LAST](inner.flatten(-3, -2)).unflatten(-2, inner.shape[-3:-1])
        return found

    def ensembles(self, features: Mapping[str, Tensor], auxiliary: nn.ModuleDict) -> dict[str, Tensor]:
        """Sum of each modality's classifiers that have come, [*batch, n, classes]."""
        return {m: self._upto(f, self.count[m]) for m, f in self.classifiers(features, auxiliary).items()}

    def _upto(self, logits: Tensor, count: Tensor) -> Tensor:
        """The sum of the first ``count`` classifiers' logits."""
        return (logits * self._among(logits, count)).sum(-3)

    def _among(self, logits: Tensor, count: Tensor) -> Tensor:
        """One for the first ``count`` classifiers, zero for the rest, ready to multiply [*batch, most, n, classes]."""
        place = torch.arange(self.most, device=logits.device)
        return (place < count.unsqueeze(-1)).to(logits.dtype)[..., None, None]

    def output(self, step: Step) -> Tensor:
        self.said = self.classifiers(step.features, step.auxiliary)
        return summed({m: self._upto(f, self.count[m]) for m, f in self.said.items()}, step.batch)

    def losses(self, step: Step) -> dict[str, Tensor]:
        required(step.logits)
        return {"total": torch.stack([self._own(step, m, f) for m, f in self.said.items()]).sum(0)}

    def _own(self, step: Step, modality: str, logits: Tensor) -> Tensor:
        """A modality's three losses, mean over the samples in which it is present, [*batch]."""
        count, y = self.count[modality], step.batch.y
        before = self._among(logits, count - 1)
        newest = (logits * (self._among(logits, count) - before)).sum(-3)
        everyone = y.unsqueeze(-2).expand(*y.shape[:-1], self.most, y.shape[-1]).flatten(-2)
        known = (-cross_entropy(logits.detach().flatten(-3, -2), everyone)).exp().unflatten(-1, (self.most, -1))
        taken = (known * before.squeeze(-1)).sum(-2)
        residual = (1 - per_replicate(self.lam, taken) * taken).clamp(min=0)
        earlier = torch.where((count > 1).unsqueeze(-1), cross_entropy((logits * before).sum(-3), y), 0.0)
        loss = residual * cross_entropy(newest, y) + cross_entropy(self._upto(logits, count), y) + earlier
        return where_present(loss, step.batch, modality)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        return summed(self.ensembles(model.encode(batch.x), auxiliary), batch)

    def state_dict(self) -> dict[str, Tensor]:
        return {f"count {m}": v for m, v in self.count.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.count = {m: state[f"count {m}"].clone() for m in self.count}
