"""R5.4: what the ranking loss and the ranking metrics guarantee."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.models.contrastive import adaptive_hinge
from mmtheory.stats import Interval, Relation, average_precision, normalised_gain
from synthetic.worlds import GaussianRegression

ITEMS, LEVELS = 10, 5


@final
@dataclass(frozen=True)
class Ranking(Claim[GaussianRegression]):
    r"""The adaptive hinge is at least the weight of misordered pairs; without it every metric is one; metrics see the order alone.

    .. math:: \sum_{y_i>y_j}\big((y_i-y_j)-(s_i-s_j)\big)_+ \ge \sum_{y_i>y_j}(y_i-y_j)\,1[s_i \le s_j]

    Cases are slacks, each the least over lists of ten items, whose labels are the world's target in five levels and whose scores one of
    its modalities: of the inequality; of NDCG@3 and of the average precision at one, for scores without loss; of their invariance under
    increasing functions of the scores; and of the independence of NDCG from the base of its logarithm.

    :param share: of the hinge that is compared; below one is wrong.
    """

    share: float = 1.0

    def analytic(self, world: GaussianRegression) -> Sides:
        cases = (
            "misordered weight",
            "gain without loss",
            "precision without loss",
            "order alone",
            "base of the logarithm",
        )
        return {case: Interval.exact(0.0) for case in cases}

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        batch = world.sample(trial.n * ITEMS, stream=trial.stream.child("lists"))
        level = torch.bucketize(batch.y / batch.y.std(), torch.tensor([-0.5, 0.3, 0.9, 1.5], dtype=torch.float64))
        labels = level.reshape(trial.n, ITEMS).to(torch.float64)
        scores = 2 * batch.x["a"][:, 0].reshape(trial.n, ITEMS)
        kept = (labels > 0).any(-1)
        labels, scores = labels[kept], scores[kept]
        fine = 1.3 * labels
        slack = {
            "misordered weight": self.share * adaptive_hinge(scores, labels) - _misordered(scores, labels),
            "gain without loss": normalised_gain(fine, labels, 3) - 1 - adaptive_hinge(fine, labels),
            "precision without loss": average_precision(fine, labels > 0) - 1,
            "order alone": -(normalised_gain(scores, labels) - normalised_gain(scores.exp(), labels)).abs(),
            "base of the logarithm": -(normalised_gain(scores, labels, 5) - _by_hand(scores, labels, 5)).abs(),
        }
        return {case: Interval.exact(float(v.min()), 1e-12) for case, v in slack.items()}

    def controls(self) -> tuple[Control, ...]:
        half = replace(self, id=f"{self.id}!half", share=0.5)
        return (Control("half of the hinge", half, self.world),)


def _misordered(scores: Tensor, labels: Tensor) -> Tensor:
    """Σ of label differences over pairs in the wrong order, ties included."""
    wanted = labels[:, :, None] - labels[:, None, :]
    wrong = scores[:, :, None] <= scores[:, None, :]
    return (wanted.clamp(min=0) * wrong).sum((-2, -1))


def _by_hand(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """NDCG@k with logarithms to base two, by ranks instead of sorting."""
    parts: list[Tensor] = []
    for by in (scores, labels):
        ahead = (by[:, None, :] > by[:, :, None]).sum(-1)
        level = (by[:, None, :] == by[:, :, None]).to(torch.int64).tril(-1).sum(-1)
        rank = ahead + level
        gain = (torch.exp2(labels) - 1) / torch.log2(2.0 + rank.to(torch.float64))
        parts.append(torch.where(rank < k, gain, 0.0).sum(-1))
    return parts[0] / parts[1]


RANKING: Claim[Any] = Ranking(
    id="R5.4",
    source=Source("mrhp", "the ranking loss and the metrics, as released", "derived here"),
    statement="The adaptive hinge bounds the weight of misordered pairs; where it is zero NDCG and average precision are one.",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(1, 1)),
    budgets={"small": Budget(2000, 2000), "full": Budget(20_000, 20_000)},
    relation=Relation.AT_LEAST,
    margin=1e-10,
    unit="lists",
)
