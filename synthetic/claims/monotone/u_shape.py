"""C11.2: at a fixed sample size the best number of modalities lies in the interior."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.claims._fits import data_sets, fit, population_error
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class UShape(Claim[GaussianRegression]):
    r"""Least squares on the first M of exchangeable modalities has its least expected risk at the M that minimises a closed form.

    .. math:: M^* = \arg\min_M\; r^*(M)\,\frac{n-1}{n-d_M-1}

    The empirical side fits each nested set on the same samples and keeps every M that no other certainly beats; the interval spans those.

    :param law: ``bayes`` forgets the cost of estimating, a mistake for the control.
    """

    size: int = 60
    law: Literal["exact", "bayes"] = "exact"

    def _nested(self, world: GaussianRegression) -> list[tuple[str, ...]]:
        """The first M modalities, for each M whose expected risk is finite."""
        found = [world.modalities[:m] for m in range(1, len(world.modalities) + 1)]
        return [s for s in found if world.law.dim(s) < self.size - 1]

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        return () if len(self._nested(world)) > 2 else ("at least three nested sets that can be fitted",)

    def analytic(self, world: GaussianRegression) -> Sides:
        sets = self._nested(world)
        if self.law == "bayes":
            risks = [world.known("bayes_risk", s).middle for s in sets]
        else:
            risks = [
                world.known("bayes_risk", s).middle * (self.size - 1) / (self.size - world.law.dim(s) - 1) for s in sets
            ]
        return {"M*": Interval.exact(1.0 + risks.index(min(risks)))}

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        sets = self._nested(world)
        parts: list[list[Tensor]] = [[] for _ in sets]
        for batch in data_sets(world, self.size, sum(world.dims), trial):
            for errors, s in zip(parts, sets, strict=True):
                errors.append(population_error(world.law, fit(batch, s), s))
        risks = [torch.cat(errors) for errors in parts]
        alpha = trial.alpha * 2 / (len(sets) * (len(sets) - 1))

        def beaten(m: int) -> bool:
            return any(student(risks[m] - other, alpha=alpha).low > 0 for k, other in enumerate(risks) if k != m)

        left = [m + 1 for m in range(len(sets)) if not beaten(m)]
        return {"M*": Interval(min(left), max(left), trial.alpha)}

    def controls(self) -> tuple[Control, ...]:
        few = replace(self, budgets={"small": Budget(500, 4000), "full": Budget(2000, 8000)})
        return (
            Control("estimating costs nothing", replace(few, id="C11.2!bayes", law="bayes"), self.world),
            misstated(few, "one modality more", lambda best: best + 1.0),
        )


U_SHAPE: Claim[Any] = UShape(
    id="C11.2",
    source=Source("monotone", "the best number of modalities at a fixed sample size", "derived here"),
    statement="At fixed n the expected least-squares risk of M exchangeable modalities is least at the interior M that minimises r*(M)(n−1)/(n−d_M−1).",
    world=GaussianRegression(snr=(0.5,) * 6, dims=(8,) * 6, scale=(1.0,) * 6),
    budgets={"small": Budget(2000, 8000), "full": Budget(16000, 32000)},
    margin=0.5,
    unit="fits",
)
