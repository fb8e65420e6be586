"""C6.6: where a modality's blending weight changes sign."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.claims._fits import crossing, population_error, scatters
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class GainFlip(Claim[GaussianRegression]):
    r"""ΔG, and with it the weight ΔG/ΔO², is negative exactly below the sample size at which the fit is as bad as the constant 0.

    .. math:: v_S\frac{n_0-1}{n_0-d_S-1} = \mathrm{Var}(y) \iff n_0 = 1 + \frac{k d_S}{k-1}, \quad k = \mathrm{Var}(y)/v_S

    The empirical side brackets the sign change of ΔG on a grid of sizes.

    :param law: ``first order`` replaces (n−1)/(n−d−1) by 1 + d/n, a mistake for the control.
    """

    modality: str = "b"
    grid: tuple[int, ...] = (21, 25)
    law: Literal["exact", "first order"] = "exact"

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        if self.modality not in world.modalities:
            return (f"modality {self.modality}, found {world.modalities}",)
        d = world.law.dim([self.modality])
        return (
            () if min(self.grid) > d + 1 else (f"least squares needs n > d + 1 = {d + 1}, found n = {min(self.grid)}",)
        )

    def analytic(self, world: GaussianRegression) -> Sides:
        flip = world.law.blending_flip([self.modality])
        if self.law == "first order":
            k = world.law.variance / world.known("bayes_risk", [self.modality]).middle
            flip = world.law.dim([self.modality]) / (k - 1)
        return {"n at which ΔG = 0": Interval.exact(flip)}

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        gains: dict[int, Interval] = {}
        for n in self.grid:
            parts = list[Tensor]()
            for sums in scatters(world, n, trial):
                weights = sums.only(world.law.columns([self.modality])).least_squares()
                error = population_error(world.law, weights, [self.modality])
                parts.append(world.law.variance - error)
            gains[n] = student(torch.cat(parts), alpha=trial.alpha / len(self.grid))
        return {"n at which ΔG = 0": crossing(gains)}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control(
                "risk inflated by 1 + d/n only", replace(self, id="C6.6!first order", law="first order"), self.world
            ),
        )


GAIN_FLIP: Claim[Any] = GainFlip(
    id="C6.6",
    source=Source("wang2020", "the weight ΔG/ΔO² where ΔG is negative", "derived here"),
    statement="A modality's blending weight is negative exactly for n below 1 + k d/(k−1), k = Var(y)/v.",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10)),
    budgets={"small": Budget(4000, 64000), "full": Budget(32000, 256000)},
    margin=2.1,
    unit="fits",
)
