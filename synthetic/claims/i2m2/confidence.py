"""R6.3 and R6.4: copies of one expert are over-confident by their number, and a binary loss on log-probabilities never sees one half."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from mmtheory.bounds import logistic_regression
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import product_of_experts
from mmtheory.stats import Interval, student
from synthetic.claims._fits import data_sets
from synthetic.worlds import SelectionGaussian, Table


@final
@dataclass(frozen=True)
class Temperature(Claim[SelectionGaussian]):
    r"""A product of k equal calibrated experts is the posterior to the power k; the temperature k calibrates it again.

    Left: one over the slope of a logistic regression of the label on the product's log-odds, samples of ``size`` each.
    """

    copies: tuple[int, ...] = (1, 2, 3)
    size: int = 2000

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {f"{k} experts": Interval.exact(1 / k) for k in self.copies}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        slopes: dict[int, list[Tensor]] = {k: [] for k in self.copies}
        for batch in data_sets(world, self.size, 2 * world.dim, replace(trial, device="cpu")):
            odds = world.log_odds(batch.x)
            expert = torch.stack([logsigmoid(-odds), logsigmoid(odds)], -1)
            for k in self.copies:
                product = product_of_experts(expert.unsqueeze(-2).expand(*expert.shape[:-1], k, 2))
                fit = logistic_regression((product[..., 1] - product[..., 0])[..., None], batch.y)
                slopes[k].append(fit.weights[..., 0])
        alpha = trial.alpha / len(self.copies)
        return {f"{k} experts": student(torch.cat(found), alpha=alpha) for k, found in slopes.items()}

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "calibrated as they stand", lambda _side: Interval.exact(1.0)),)


@final
@dataclass(frozen=True)
class BinaryLoss(Claim[Table]):
    r"""The logistic loss on ln p, as a released head computes it, is least at p = min(1, t/(1−t)) for a target t, and then not above ln 2.

    .. math:: \sigma(\ln p) = \frac{p}{1+p} \le \tfrac12, \qquad
        \min_p \mathrm{BCE}(\sigma(\ln p), t) = \begin{cases} h(t) & t \le \tfrac12 \\ \ln 2 & t \ge \tfrac12 \end{cases}

    So every target above one half is the same to it. Targets are the world's posteriors. Left: bisection of the loss's derivative.

    :param honest: whether the analytic side says p = t, as a proper loss would have it.
    """

    honest: bool = False

    def analytic(self, world: Table) -> Sides:
        sides: dict[str, Interval] = {}
        for cell, t in _targets(world).items():
            best = t if self.honest else min(1.0, t / (1 - t))
            floor = -t * math.log(t) - (1 - t) * math.log(1 - t) if t < 0.5 else math.log(2)
            sides |= {f"p at {cell}": Interval.exact(best, 1e-12), f"loss at {cell}": Interval.exact(floor, 1e-12)}
        return sides

    def empirical(self, world: Table, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for cell, t in _targets(world).items():
            target = torch.tensor(t, dtype=torch.float64)
            low, high = -20.0, 0.0
            for _ in range(60):
                middle = (low + high) / 2
                log_p = torch.tensor(middle, dtype=torch.float64, requires_grad=True)
                (slope,) = torch.autograd.grad(binary_cross_entropy_with_logits(log_p, target), log_p)
                low, high = (middle, high) if slope < 0 else (low, middle)
            loss = binary_cross_entropy_with_logits(torch.tensor(high, dtype=torch.float64), target)
            sides |= {f"p at {cell}": Interval.exact(math.exp(high)), f"loss at {cell}": Interval.exact(float(loss))}
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (Control("a proper loss", replace(self, id=f"{self.id}!proper", honest=True), self.world),)


def _targets(world: Table) -> dict[str, float]:
    """P(label 1) in every cell."""
    chance = world.table[..., 1] / world.table.sum(-1)
    return {f"({i},{j})": float(t) for i, row in enumerate(chance) for j, t in enumerate(row)}


TEMPERATURE: Claim[Any] = Temperature(
    id="R6.3",
    source=Source("i2m2", "calibration of a product of agreeing experts", "derived here"),
    statement="A product of k equal experts is over-confident by the exponent k; temperature k restores it.",
    world=SelectionGaussian(),
    budgets={"small": Budget(150, 600), "full": Budget(1000, 4000)},
    margin=0.05,
    unit="fits",
)

BINARY_LOSS: Claim[Any] = BinaryLoss(
    id="R6.4",
    source=Source(
        "i2m2",
        "binary cross-entropy on log-probabilities in the released visual question answering head",
        "derived here",
    ),
    statement="The binary loss on ln p is least at min(1, t/(1−t)): targets above one half are all alike to it.",
    world=Table("bsc", flip=(0.2, 0.35)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-8,
    unit="computations",
)
