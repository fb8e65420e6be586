"""C1.9: the sample size below which fewer modalities win."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.claims._fits import crossing, population_error, scatters
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class OlsCrossover(Claim[GaussianRegression]):
    r"""Least squares on fewer modalities has the lower expected risk for n < n* and on more for n > n*.

    .. math:: n^* = 1 + \frac{\sigma_N^2 d_M - \sigma_M^2 d_N}{\sigma_N^2 - \sigma_M^2}

    The empirical side brackets the crossing: the two fits of one sample (its scatter, drawn by Bartlett's factor) are compared on a grid
    of sizes, and the bracket runs from the last size where fewer certainly win to the first where more certainly do.

    :param law: ``first order`` replaces (n−1)/(n−d−1) by 1 + d/n, a mistake for the control.
    """

    fewer: tuple[str, ...] = ("a",)
    more: tuple[str, ...] = ("a", "b")
    grid: tuple[int, ...] = (40, 68, 78)
    law: Literal["exact", "first order"] = "exact"

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        if set(self.more) - set(world.modalities):
            return (f"the claim compares {self.more}, the world has {world.modalities}",)
        return () if self.grid[0] > world.law.dim(self.more) + 1 else ("the grid must begin beyond d + 1",)

    def analytic(self, world: GaussianRegression) -> Sides:
        few, many = (world.known("bayes_risk", s).middle for s in (self.fewer, self.more))
        d, e = world.law.dim(self.fewer), world.law.dim(self.more)
        if few <= many:
            return {"n*": Interval(float("inf"), float("inf"))}
        star = 1 + (few * e - many * d) / (few - many)
        return {"n*": Interval.exact(star if self.law == "exact" else (many * e - few * d) / (few - many), 1e-9)}

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        differences: dict[int, Interval] = {}
        for n in self.grid:
            parts = list[Tensor]()
            for sums in scatters(world, n, trial):
                fits = ((s, sums.only(world.law.columns(s)).least_squares()) for s in (self.fewer, self.more))
                few, many = (population_error(world.law, w, s) for s, w in fits)
                parts.append(few - many)
            differences[n] = student(torch.cat(parts), alpha=trial.alpha / len(self.grid))
        return {"n*": crossing(differences)}

    def controls(self) -> tuple[Control, ...]:
        rough = replace(self, id="C1.9!first order", law="first order")
        first = Interval.exact(self.world.law.dim(self.more) + 1)
        return (
            Control("risk inflated by 1 + d/n only", rough, self.world),
            misstated(self, "the crossing where the larger set becomes estimable", lambda _star: first),
        )


OLS_CROSSOVER: Claim[Any] = OlsCrossover(
    id="C1.9",
    source=Source("huang2021", "the linear case: when fewer modalities win", "derived here"),
    statement="Fewer modalities have the lower expected least-squares risk exactly below n* = 1 + (σ_N²d_M − σ_M²d_N)/(σ_N² − σ_M²).",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10)),
    budgets={"small": Budget(4000, 32000), "full": Budget(32000, 128000)},
    margin=6.0,
    unit="fits",
)
