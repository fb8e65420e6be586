"""C1.8: the exact finite-sample risk of least squares in the linear-Gaussian world."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import subsets
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class OlsRisk(Claim[GaussianRegression]):
    r"""Least squares on ``size`` samples of subset S has expected risk r*(S)(n−1)/(n−d_S−1).

    .. math:: E\, r(\hat f_S) = r^*(S)\,\frac{n-1}{n-d_S-1}, \qquad n > d_S + 1

    One case a subset; the empirical side draws independent designs, fits each, and tries each fit on fresh samples.
    """

    size: int = 40

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        d = sum(world.dims)
        return () if self.size > d + 1 else (f"least squares needs n > d + 1 = {d + 1}, found n = {self.size}",)

    def analytic(self, world: GaussianRegression) -> Sides:
        width = dict(zip(world.modalities, world.dims, strict=True))
        sides: dict[str, Interval] = {}
        for given in subsets(world.modalities):
            inflation = (self.size - 1) / (self.size - sum(width[m] for m in given) - 1)
            sides[",".join(sorted(given))] = world.known("bayes_risk", given) * inflation
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        batch = world.sample(self.size, stream=trial.stream, replicates=range(trial.n), device=trial.device)
        fresh = world.sample(64, stream=trial.stream.child("fresh"), replicates=range(trial.n), device=trial.device)
        chosen = list(subsets(world.modalities))
        sides: dict[str, Interval] = {}
        for given in chosen:
            fit = torch.linalg.lstsq(batch.only(given).stacked(), batch.y[..., None]).solution
            error = (fresh.y - (fresh.only(given).stacked() @ fit)[..., 0]) ** 2
            sides[",".join(sorted(given))] = student(error.mean(-1), alpha=trial.alpha / len(chosen))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "no finite-sample inflation", lambda side: side * 0.8),)


OLS_RISK: Claim[Any] = OlsRisk(
    id="C1.8",
    source=Source("huang2021", "the linear case, with our finite-sample law", "derived here"),
    statement="Least squares on n samples of modalities S has expected risk r*(S)(n−1)/(n−d_S−1).",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10), scale=(1.0, 1.0), label_noise=0.1),
    budgets={"small": Budget(4000, 32000), "full": Budget(16000, 256000)},
    margin=0.02,
    unit="fits",
)
