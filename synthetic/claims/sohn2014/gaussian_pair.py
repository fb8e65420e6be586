"""R1.6: the variation of information of Gaussian views, and how the noisier view takes the loss over."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch.distributions import MultivariateNormal

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class GaussianPair(Claim[GaussianRegression]):
    r"""h(a|b) = ½ ln(2πe σ_a²(1−ρ²)) for one number a view, and likewise h(b|a): their sum is ln(2πe σ_aσ_b(1−ρ²)).

    Stretching b by c adds ln c to h(b|a) alone: a loss that adds both halves follows the view with the larger noise. Left: mean of
    ln p(b) − ln p(a, b) over samples, from the law's covariance as a whole.
    """

    stretch: tuple[float, ...] = (1.0, 8.0)

    def analytic(self, world: GaussianRegression) -> Sides:
        sides: dict[str, Interval] = {}
        for c in self.stretch:
            cov = replace(world, scale=(1.0, c)).law.block("ab")[0]
            left = 1 - float(cov[0, 1] ** 2 / (cov[0, 0] * cov[1, 1]))
            for k, case in enumerate(("a given b", "b given a")):
                value = 0.5 * math.log(2 * math.pi * math.e * float(cov[k, k]) * left)
                sides[f"{case}, b × {c:g}"] = Interval.exact(value, 1e-12)
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for c in self.stretch:
            here = replace(world, scale=(1.0, c))
            points = here.sample(trial.n, stream=trial.stream.child(f"{c:g}", trial.n)).stacked()
            cov = here.law.block("ab")[0]
            whole = MultivariateNormal(torch.zeros(2, dtype=torch.float64), cov).log_prob(points)
            for other, case in ((1, "a given b"), (0, "b given a")):
                one = torch.distributions.Normal(0.0, cov[other, other].sqrt()).log_prob(points[:, other])
                sides[f"{case}, b × {c:g}"] = student(one - whole, alpha=trial.alpha / (2 * len(self.stretch)))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "ln 2π in place of ln 2πe", lambda side: side - 0.5),)


GAUSSIAN_PAIR: Claim[Any] = GaussianPair(
    id="R1.6",
    source=Source("sohn2014", "the loss of Gaussian views", "derived here"),
    statement="Each half of a Gaussian pair's variation of information is ½ ln(2πe σ²(1−ρ²)); stretching a view moves its half alone.",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(1, 1)),
    budgets={"small": Budget(60_000, 240_000), "full": Budget(600_000, 2_400_000)},
    margin=0.025,
)
