"""C1.10: the expected error of a plug-in discriminant, and the sample size from which more modalities pay."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.claims._fits import data_sets
from synthetic.worlds import GaussianDiscriminant


@final
@dataclass(frozen=True)
class LdaCrossover(Claim[GaussianDiscriminant]):
    r"""The discriminant with known covariance and estimated mean has the error (LDA-n), which crosses between modality sets.

    .. math:: E\,\Phi\!\left(-D(\sqrt n D + Z)\big/\sqrt{(\sqrt n D+Z)^2+V}\right), \quad Z \sim N(0,1),\ V \sim \chi^2_{d-1}

    Cases: the error of each set at each size, and their difference, whose sign is the crossing. The empirical side estimates the mean of
    labelled samples and takes each direction's error from the law's two moments.

    :param law: ``plug-in``, or a mistake for the controls: ``bayes`` forgets the estimation, ``signal`` counts only informative dimensions.
    """

    sets: tuple[tuple[str, ...], ...] = (("a",), ("a", "b"))
    sizes: tuple[int, ...] = (100, 200)
    law: Literal["plug-in", "bayes", "signal"] = "plug-in"

    def broken_assumptions(self, world: GaussianDiscriminant) -> tuple[str, ...]:
        return () if world.classes == 2 else (f"two classes, found {world.classes}",)

    def _error(self, world: GaussianDiscriminant, n: int, given: tuple[str, ...]) -> Interval:
        if self.law == "bayes":
            return world.known("bayes_risk", given)
        judged = replace(world, dims=(1,) * len(world.d2)) if self.law == "signal" else world
        return judged.plug_in_risk(n, given)

    def analytic(self, world: GaussianDiscriminant) -> Sides:
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            errors = [self._error(world, n, s) for s in self.sets]
            sides |= {f"{','.join(s)} at n={n}": e for s, e in zip(self.sets, errors, strict=True)}
            sides[f"gain of the larger set at n={n}"] = errors[0] - errors[-1]
        return sides

    def empirical(self, world: GaussianDiscriminant, trial: Trial) -> Sides:
        alpha = trial.alpha / (len(self.sizes) * (len(self.sets) + 1))
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            found = self._errors(world, n, trial)
            sides |= {f"{','.join(s)} at n={n}": student(e, alpha=alpha) for s, e in found.items()}
            sides[f"gain of the larger set at n={n}"] = student(found[self.sets[0]] - found[self.sets[-1]], alpha=alpha)
        return sides

    def _errors(self, world: GaussianDiscriminant, n: int, trial: Trial) -> dict[tuple[str, ...], Tensor]:
        """Each fit's exact error."""
        found: dict[tuple[str, ...], list[Tensor]] = {s: [] for s in self.sets}
        for batch in data_sets(world, n, sum(world.widths.values()), trial):
            for given in self.sets:
                mean, cov = world.moments(given)
                estimate = ((2 * batch.y.double() - 1)[..., None, :] @ batch.only(given).stacked())[..., 0, :] / n
                w = torch.linalg.solve(cov, estimate.mT).mT
                reach = w @ mean / ((w @ cov) * w).sum(-1).sqrt()
                found[given].append(torch.special.ndtr(-reach))
        return {s: torch.cat(parts) for s, parts in found.items()}

    def controls(self) -> tuple[Control, ...]:
        few = {"small": Budget(200, 2000), "full": Budget(2000, 8000)}
        return (
            Control(
                "nothing is lost by estimating", replace(self, id="C1.10!bayes", law="bayes", budgets=few), self.world
            ),
            Control(
                "noise coordinates cost nothing",
                replace(self, id="C1.10!signal", law="signal", budgets=few),
                self.world,
            ),
        )


LDA_CROSSOVER: Claim[Any] = LdaCrossover(
    id="C1.10",
    source=Source("huang2021", "classification counterpart of the sample-size crossover", "derived here"),
    statement="The plug-in discriminant errs by E Φ(−D(√nD+Z)/√((√nD+Z)²+V)): fewer modalities win at small n, more at large n.",
    world=GaussianDiscriminant(d2=(0.64, 0.25), dims=(2, 60)),
    budgets={"small": Budget(1000, 8000), "full": Budget(8000, 20000)},
    margin=0.003,
    unit="fits",
)
