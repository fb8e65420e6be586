"""PMR: pull the features of the modality that lags towards their class prototypes, and keep the leading ones from collapsing early."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._late import entropy, own_loss
from ._method import Card, Method, Step, Strength, View, per_replicate
from ._scores import label_scores
from ._strengths import epochs, off, ranged

Ratio = Literal["clipped", "binary"]


@final
class PMR(Method):
    r"""Prototypical modal re-balance.

    .. math:: L = \mathrm{CE}(o, y) + \alpha \sum_m c_m L^m_{PCE} - \mu \sum_m e_m H(p^m), \qquad
        p^m(k \mid x) \propto \exp(-\lVert z^m - c^m_k \rVert)

    with c_m = clip(S^max/S^m − 1, 0, 1), e_m = clip(S^m/S^min − 1, 0, 1) and S^m the batch's summed p^m of the true labels. The
    prototype term of one modality has no gradient in any other's encoder, unlike the joint loss.

    :param alpha: weight of the prototype losses, at least 0.
    :param mu: weight of the entropy term, at least 0; alpha = mu = 0 is joint training bit for bit.
    :param entropy_epochs: first epochs that have the entropy term; the paper gives no number.
    :param momentum: of the prototypes, in [0, 1]: share of the old ones; 1 freezes the first.
    :param subset: share of the training set that prototypes are made of, in (0, 1]; at least two samples a class if there are so many.
    :param ratio: ``clipped`` as in the paper; ``binary`` takes 1 for every positive c_m and e_m (the released code).

    Source: Fan, Xu, Wang, Wang, Guo 2023 (CVPR), eq. 5 to 11; more than two modalities derived here (M = 2 is the paper's).
    """

    card: ClassVar[Card] = Card(
        name="pmr",
        source="Fan, Xu, Wang, Wang, Guo 2023 (CVPR)",
        summary="Adds a prototype loss on modalities that lag and an entropy bonus on those that lead.",
        fidelity="paper",
        cost="1F + 1B, M distance matrices n × classes × width; a share `subset` of the encoders' forward an epoch",
        neutral="alpha = 0 and mu = 0",
        differences=(
            "the released code has no entropy term; here it is on",
            "the released code's coefficients are 0 or alpha (ratio = 'binary'); the default clips the ratio as in the paper",
            "the released code makes prototypes of test or validation data on two data sets; here of training data alone",
            "the paper does not give entropy_epochs and momentum; 5 is ours, .2 the released code's",
            "a class without a sample in the subset keeps its prototype, or begins at the mean of all features",
        ),
    )
    why_classes: ClassVar[str] = "its prototypes are means of classes"

    def __init__(
        self,
        alpha: Strength = 1.0,
        *,
        mu: Strength = 0.01,
        entropy_epochs: int = 5,
        momentum: float = 0.2,
        subset: float = 0.1,
        ratio: Ratio = "clipped",
    ) -> None:
        if not 0 <= momentum <= 1 or not 0 < subset <= 1 or ratio not in {"clipped", "binary"}:
            raise ArgumentError(
                f"pmr: expected momentum in [0, 1], subset in (0, 1], ratio clipped or binary, found {momentum}, {subset}, {ratio!r}"
            )
        self.alpha, self.mu = ranged("pmr: alpha", alpha), ranged("pmr: mu", mu)
        self.entropy_epochs = epochs("pmr: entropy_epochs", entropy_epochs)
        self.momentum, self.subset = momentum, subset
        self.ratio: Ratio = ratio

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        like, self.classes = next(model.parameters()), model.fusion.classes
        shape = (*model.batch_shape, self.classes)
        self.prototypes = {m: like.detach().new_zeros(*shape, model.width(m)) for m in model.modalities}
        self.seen = torch.zeros(shape, dtype=torch.bool, device=like.device)

    @property
    def idle(self) -> bool:
        """Whether it has nothing to add in any replicate."""
        return off(self.alpha) and off(self.mu)

    @torch.no_grad()
    def on_epoch(self, view: View) -> None:
        if self.idle:
            return
        n, y = view.train.n, view.train.y
        k = min(n, max(math.ceil(self.subset * n), 2 * self.classes))
        index = view.draws.fill("prototypes", (k,), lambda g, s: g.permutation(n)[: s[0]])
        x = {m: take(v, index) for m, v in view.train.x.items()}
        weight = functional.one_hot(take(y, index).long(), self.classes).to(torch.float64).mT
        count = weight.sum(-1, keepdim=True)
        for m, z in view.model.encode(x).items():
            overall = z.mean(-2, keepdim=True)
            mean = ((weight @ z.double()) / count.clamp(min=1)).to(z.dtype)
            old = torch.where(self.seen.unsqueeze(-1), self.prototypes[m], overall)
            moved = torch.where(self.seen.unsqueeze(-1), self.momentum * old + (1 - self.momentum) * mean, mean)
            self.prototypes[m] = torch.where(count > 0, moved, old)
        self.seen = self.seen | (count.squeeze(-1) > 0)

    def similarities(self, step: Step) -> dict[str, Tensor]:
        """Minus the Euclidean distance of every sample's features to every prototype, [*batch, n, classes]."""
        mode = "donot_use_mm_for_euclid_dist"
        return {m: -torch.cdist(z, self.prototypes[m], compute_mode=mode) for m, z in step.features.items()}

    def coefficients(self, scores: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """How far each modality lags behind the best and leads the worst, clipped to [0, 1]; each [*batch]."""
        every = torch.stack(list(scores.values()))
        best, worst = every.amax(0), every.amin(0)
        lag = {m: (best / s - 1).clamp(0, 1) for m, s in scores.items()}
        lead = {m: (s / worst - 1).clamp(0, 1) for m, s in scores.items()}
        if self.ratio == "binary":
            return {m: c.ceil() for m, c in lag.items()}, {m: c.ceil() for m, c in lead.items()}
        return lag, lead

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        if self.idle:
            return losses
        near = self.similarities(step)
        lag, lead = self.coefficients(label_scores(near, step.batch.y))
        total = losses["total"]
        pull = torch.stack([lag[m] * own_loss(step, m, s) for m, s in near.items()]).sum(0)
        total = total + per_replicate(self.alpha, total) * pull
        if step.epoch < self.entropy_epochs:
            spread = torch.stack([lead[m] * entropy(s).mean(-1) for m, s in near.items()]).sum(0)
            total = total - per_replicate(self.mu, total) * spread
        return {**losses, "total": total}

    def state_dict(self) -> dict[str, Tensor]:
        return {"seen": self.seen, **{f"prototypes {m}": c for m, c in self.prototypes.items()}}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.seen = state["seen"].clone()
        self.prototypes = {m: state[f"prototypes {m}"].clone() for m in self.prototypes}

    def neutral(self) -> Method:
        return PMR(0.0, mu=0.0)


def take(data: Tensor, index: Tensor) -> Tensor:
    """The samples ``index`` [*batch, k] of data [*batch, n, …], where the data lie."""
    index = index.to(data.device)
    rest = data.ndim - index.ndim
    wide = index.reshape(*index.shape, *(1,) * rest).expand(*index.shape, *data.shape[index.ndim :])
    return data.gather(index.ndim - 1, wide)
