"""R7.2 and R7.3: how many features cover a training set, what that leaves uncovered, and when a paired feature pays."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import Saturation

from ._draws import learnt

Law = Literal["exact", "mean features", "logarithm"]
ERROR = 1e-5


@final
@dataclass(frozen=True)
class CoverageLaw(Claim[Saturation]):
    r"""Features that occur in a share q of the samples, learnt until n samples are covered: with :math:`\lambda = -\ln(1-q)`,

    .. math:: E\,k = \frac{H_n}{\lambda} + \frac12, \qquad E\,\mathrm{err}_{\rm joint} = \frac{q}{2\lambda(n+1)}, \qquad
        E\,\mathrm{err}_{\rm UME} = \frac12\Big(\frac{q}{\lambda(n+1)}\Big)^{M}

    (H_n the harmonic number; for n ≥ 20 the relative error is below 1e-5 if q ≤ 0.4 and below 1e-3 if q ≤ 0.6: it oscillates with
    ln n). The risk is one over n however
    rare the features are: k is the greatest of n geometric numbers, and a fresh sample is uncovered if its own is greater still. Putting
    E k into ½(1−q)^k, as the recalled law does, is low by the factor :math:`e^{\gamma}` and more, and ln n/λ misses γ/λ + ½ features.
    """

    law: Law = "exact"

    def broken_assumptions(self, world: Saturation) -> tuple[str, ...]:
        one = {p for row in world.presence for p in row}
        if len(one) != 1 or world.paired:
            return ("all features equally likely, none paired",)
        return () if max(one) <= 0.4 and world.n >= 20 else ("features in at most two samples of five, n >= 20",)

    def analytic(self, world: Saturation) -> Sides:
        n, q = world.n, world.presence[0][0]
        rate = -math.log1p(-q)
        features = math.log(n) / rate if self.law == "logarithm" else sum(1 / i for i in range(1, n + 1)) / rate + 0.5
        left = q / rate if self.law == "exact" else (n + 1) * (1 - q) ** features
        return {
            "features × λ": Interval.exact(features * rate, ERROR * features),
            "joint risk × 2(n+1)": Interval.exact(left, ERROR),
            "UME risk × 2(n+1)^M": Interval.exact(left ** len(world.modalities), ERROR),
        }

    def empirical(self, world: Saturation, trial: Trial) -> Sides:
        here, size = learnt(world, trial.stream, trial.n), 2 * (world.n + 1)
        total = torch.stack(list(here.jointly.values())).sum(0).to(torch.float64)
        scaled = {
            "features × λ": total * -math.log1p(-world.presence[0][0]),
            "joint risk × 2(n+1)": here.joint_risk * size,
            "UME risk × 2(n+1)^M": here.ensemble_risk * size * (world.n + 1) ** (len(world.modalities) - 1),
        }
        return {case: student(v, alpha=trial.alpha / 3) for case, v in scaled.items()}

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Law] = {"½(1−q)^k at the mean k": "mean features", "ln n/λ features": "logarithm"}
        return tuple(Control(n, replace(self, id=f"{self.id}!{law}", law=law), self.world) for n, law in wrong.items())


@final
@dataclass(frozen=True)
class GuidingRule(Claim[Saturation]):
    """A paired feature pays for UMT from q on, the share of the other features, and for naive joint training only much later.

    With equally likely features a rarer pair is never reached before the training set is covered, so that UMT is UME exactly; a more
    frequent one is learnt first and UMT has it on top. Left: signs of mean differences, 0 only where every draw has none.

    :param shift: what is added to both crossings; anything but 0 is wrong.
    """

    masses: tuple[float, ...] = (0.2, 0.45, 0.9, 0.999)
    shift: float = 0.0

    def analytic(self, world: Saturation) -> Sides:
        crossing, q = world.crossover().middle + self.shift, world.presence[0][0] + self.shift
        sides = {f"UME − UMT, pair {v:g}": Interval.exact(float(v > q)) for v in self.masses}
        return sides | {f"UME − joint, pair {v:g}": Interval.exact(1.0 if v > crossing else -1.0) for v in self.masses}

    def empirical(self, world: Saturation, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        alpha = trial.alpha / (2 * len(self.masses))
        for v in self.masses:
            here = learnt(replace(world, paired=(v,)), trial.stream, trial.n)
            sides[f"UME − UMT, pair {v:g}"] = sign(student(here.ensemble_risk - here.distilled_risk, alpha=alpha))
            sides[f"UME − joint, pair {v:g}"] = sign(student(here.ensemble_risk - here.joint_risk, alpha=alpha))
        return sides

    def controls(self) -> tuple[Control, ...]:
        wrong = {"a pair must be much more frequent": 0.3, "a rare pair pays too": -0.3}
        return tuple(Control(n, replace(self, id=f"{self.id}!{s}", shift=s), self.world) for n, s in wrong.items())


def sign(mean: Interval) -> Interval:
    """−1, 0 or 1; what is not decided is both."""
    if mean.low == mean.high == 0:
        return Interval(0, 0, mean.alpha)
    return Interval(-1.0 if mean.low <= 0 else 1.0, 1.0 if mean.high >= 0 else -1.0, mean.alpha)


COVERAGE_LAW: Claim[Any] = CoverageLaw(
    id="R7.2",
    source=Source("du2023", "saturation of joint training, our exact coverage law", "derived here"),
    statement="Joint training stops after H_n/λ + ½ features in total and errs q/2λ(n+1); the ensemble errs that power M.",
    world=Saturation(presence=((0.4,) * 25, (0.4,) * 25), n=30),
    budgets={"small": Budget(4000, 16000), "full": Budget(30000, 120000)},
    margin=0.12,
    unit="training sets",
)

GUIDING_RULE: Claim[Any] = GuidingRule(
    id="R7.3",
    source=Source("du2023", "the guiding rule between UME and UMT, in the saturation world", "derived here"),
    statement="UMT beats UME exactly where the paired feature is more frequent than the others; naive joint training only near certainty.",
    world=Saturation(presence=((0.4,) * 18, (0.4,) * 18), n=20),
    budgets={"small": Budget(1500, 24000), "full": Budget(12000, 48000)},
    margin=0.5,
    unit="training sets",
)
