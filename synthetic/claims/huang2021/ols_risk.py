"""C1.8: the exact finite-sample risk of least squares in the linear-Gaussian world."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, student
from synthetic.claims._fits import population_error, scatters
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class OlsRisk(Claim[GaussianRegression]):
    r"""Least squares on ``size`` samples of subset S has expected risk r*(S)(n−1)/(n−d_S−1).

    .. math:: E\, r(\hat f_S) = r^*(S)\,\frac{n-1}{n-d_S-1}, \qquad n > d_S + 1

    One case a subset; the empirical side draws what independent data sets tell a linear learner (Bartlett's factor of XᵀX, Xᵀy: the
    law's covariance is all it uses), solves each set of normal equations, and takes each fit's error from the law's moments.

    :param lost: degrees of freedom in the denominator beyond d; anything but 1 is a wrong formula, for the controls.
    """

    size: int = 40
    lost: float = 1.0

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        d = sum(world.dims)
        return () if self.size > d + 1 else (f"least squares needs n > d + 1 = {d + 1}, found n = {self.size}",)

    def analytic(self, world: GaussianRegression) -> Sides:
        width = dict(zip(world.modalities, world.dims, strict=True))
        sides: dict[str, Interval] = {}
        for given in subsets(world.modalities):
            inflation = (self.size - 1) / (self.size - sum(width[m] for m in given) - self.lost)
            sides[",".join(sorted(given))] = world.known("bayes_risk", given) * inflation
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        chosen = list(subsets(world.modalities))
        errors: dict[frozenset[str], list[Tensor]] = {s: [] for s in chosen}
        for sums in scatters(world, self.size, trial):
            for s in chosen:
                errors[s].append(population_error(world.law, sums.only(world.law.columns(s)).least_squares(), s))
        return {",".join(sorted(s)): student(torch.cat(e), alpha=trial.alpha / len(chosen)) for s, e in errors.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("(n-1)/(n-d), one degree of freedom forgotten", replace(self, id="C1.8!dof", lost=0.0), self.world),
            Control("one degree of freedom too many", replace(self, id="C1.8!dof+", lost=2.0), self.world),
        )


OLS_RISK: Claim[Any] = OlsRisk(
    id="C1.8",
    source=Source("huang2021", "the linear case, with our finite-sample law", "derived here"),
    statement="Least squares on n samples of modalities S has expected risk r*(S)(n−1)/(n−d_S−1).",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10), scale=(1.0, 1.0), label_noise=0.1),
    budgets={"small": Budget(16000, 64000), "full": Budget(64000, 512000)},
    margin=0.004,
    unit="fits",
)
