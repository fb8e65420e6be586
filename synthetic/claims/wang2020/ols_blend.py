"""C6.5: Gradient-Blending's two quantities in closed form, for least squares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, student
from synthetic.claims._fits import population_error, scatters
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class OlsBlend(Claim[GaussianRegression]):
    r"""The generalisation gain ΔG and the growth of overfitting ΔO of least squares begun at 0.

    .. math:: \Delta O = v_S d_S\frac{2n-d_S-1}{n(n-d_S-1)}, \qquad \Delta G = \mathrm{Var}(y) - v_S\frac{n-1}{n-d_S-1}

    Two cases a subset. The empirical side fits each subset on the same samples (their scatter, drawn by Bartlett's factor), takes training
    errors from the scatter and population errors from the law's moments.

    :param law: ``first order`` is ΔO = 2 v d/n, ``no noise`` takes Var(y) without the label noise; mistakes for the controls.
    """

    size: int = 60
    law: Literal["exact", "first order", "no noise"] = "exact"

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        d = sum(world.dims)
        return () if self.size > d + 1 else (f"least squares needs n > d + 1 = {d + 1}, found n = {self.size}",)

    def analytic(self, world: GaussianRegression) -> Sides:
        sides: dict[str, Interval] = {}
        for s in subsets(world.modalities):
            name, d, blend = ",".join(sorted(s)), world.law.dim(s), world.law.blending(self.size, s)
            rough = world.known("bayes_risk", s).middle * 2 * d / self.size
            gain = blend.gain - (world.label_noise if self.law == "no noise" else 0.0)
            sides[f"ΔG of {name}"] = Interval.exact(gain, 1e-12)
            sides[f"ΔO of {name}"] = Interval.exact(rough if self.law == "first order" else blend.overfit, 1e-12)
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        chosen = list(subsets(world.modalities))
        found: dict[str, list[Tensor]] = {f"Δ{q} of {','.join(sorted(s))}": [] for s in chosen for q in "GO"}
        for sums in scatters(world, self.size, trial):
            for s in chosen:
                name, own = ",".join(sorted(s)), sums.only(world.law.columns(s))
                w = own.least_squares()
                test = population_error(world.law, w, s)
                # The best predictor's own difference of errors has mean 0 and carries nearly all of the noise: it is subtracted.
                best = world.law.coefficients(s)
                noise = population_error(world.law, best, s) - own.error(best)
                found[f"ΔG of {name}"].append(world.law.variance - test)
                found[f"ΔO of {name}"].append(test - own.error(w) - noise)
        return {case: student(torch.cat(parts), alpha=trial.alpha / len(found)) for case, parts in found.items()}

    def controls(self) -> tuple[Control, ...]:
        few = replace(self, budgets={"small": Budget(1500, 24000), "full": Budget(6000, 48000)})
        return (
            Control(
                "overfitting 2vd/n, the first order", replace(few, id="C6.5!first order", law="first order"), self.world
            ),
            Control("label noise left out of Var(y)", replace(few, id="C6.5!no noise", law="no noise"), self.world),
        )


OLS_BLEND: Claim[Any] = OlsBlend(
    id="C6.5",
    source=Source("wang2020", "ΔO and ΔG of Gradient-Blending, for least squares", "derived here"),
    statement="Least squares on n samples has ΔO = v d(2n−d−1)/(n(n−d−1)) and ΔG = Var(y) − v(n−1)/(n−d−1).",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10)),
    budgets={"small": Budget(5000, 40000), "full": Budget(40000, 160000)},
    margin=0.006,
    unit="fits",
)
