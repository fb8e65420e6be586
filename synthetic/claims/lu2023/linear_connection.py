"""C3.1, C3.2, C3.3 and C3.6: one stage against two in the linear connection."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.worlds import ConnectionLinear

from ._learners import at, excess_risks, log_mean, logarithm, relative


def _needs(world: ConnectionLinear) -> tuple[str, ...]:
    """What finite expected risks presuppose."""
    enough = world.n > world.d + 1 and world.m > world.d + 1
    return () if enough else (f"least squares needs n, m > d + 1 = {world.d + 1}, found {world.n} and {world.m}",)


@final
@dataclass(frozen=True)
class ExcessRisks(Claim[ConnectionLinear]):
    """Both learners' expected excess risks are the closed forms, compared as logarithms: the margin is relative."""

    def broken_assumptions(self, world: ConnectionLinear) -> tuple[str, ...]:
        return _needs(world)

    def analytic(self, world: ConnectionLinear) -> Sides:
        return {
            "one stage": logarithm(world.unimodal_excess()),
            "two stages": logarithm(world.two_stage_excess()),
        }

    def empirical(self, world: ConnectionLinear, trial: Trial) -> Sides:
        one, two = excess_risks(world, trial)
        alpha = trial.alpha / 2
        return {"one stage": log_mean(one, alpha=alpha), "two stages": log_mean(two, alpha=alpha)}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "a tenth less", lambda side: side + math.log(0.9)),
            misstated(self, "a tenth more", lambda side: side + math.log(1.1)),
        )


@final
@dataclass(frozen=True)
class AdvantageFactor(Claim[ConnectionLinear]):
    r"""With a nearly noiseless connection and many unlabelled pairs, the ratio of the excess risks is its limit.

    .. math:: \ln\frac{\text{one stage}}{\text{two stages}} \to \ln\Big(\frac dq \cdot \frac{n-q-1}{n-d-1}\Big)
    """

    inflated: bool = True

    def broken_assumptions(self, world: ConnectionLinear) -> tuple[str, ...]:
        return _needs(world)

    def analytic(self, world: ConnectionLinear) -> Sides:
        bare = Interval.exact(world.d / world.q)
        return {"log ratio": logarithm(world.limit_ratio() if self.inflated else bare)}

    def empirical(self, world: ConnectionLinear, trial: Trial) -> Sides:
        one, two = excess_risks(world, trial)
        return {"log ratio": log_mean(one, alpha=trial.alpha / 2) - log_mean(two, alpha=trial.alpha / 2)}

    def controls(self) -> tuple[Control, ...]:
        bare = replace(self, id=f"{self.id}!d/q", statement=f"control (d/q alone): {self.statement}", inflated=False)
        return (
            Control("without the finite-sample factor", bare, self.world),
            Control("a noisy connection", self, replace(self.world, sigma_w=0.3)),
        )


@final
@dataclass(frozen=True)
class UnlabelledRate(Claim[ConnectionLinear]):
    """With infinitely many labels the excess risk of two stages falls like 1/m: slope −1 in logarithms."""

    ladder: tuple[int, ...] = (50, 200, 800)
    labelled: bool = False

    def analytic(self, world: ConnectionLinear) -> Sides:
        return {"slope": Interval.exact(-1.0)}

    def empirical(self, world: ConnectionLinear, trial: Trial) -> Sides:
        steps = [math.log(m) for m in self.ladder]
        middle = sum(steps) / len(steps)
        spread = sum((v - middle) ** 2 for v in steps)
        slope = Interval.exact(0.0)
        for m, v in zip(self.ladder, steps, strict=True):
            _, excess = excess_risks(replace(world, m=m), at(trial, "m", m), labelled=self.labelled)
            slope = slope + log_mean(excess, alpha=trial.alpha / len(steps)) * ((v - middle) / spread)
        return {"slope": slope}

    def controls(self) -> tuple[Control, ...]:
        finite = replace(
            self, id=f"{self.id}!finite n", statement=f"control (few labels): {self.statement}", labelled=True
        )
        return (
            misstated(self, "a slope of -1/2", lambda side: side * 0.5),
            Control("few labels leave a floor", finite, self.world),
        )


@final
@dataclass(frozen=True)
class NoGain(Claim[ConnectionLinear]):
    """Without heterogeneity (q = d) two stages are as good as one; without a connection they are as good as knowing nothing.

    The first is measured as (one stage − two stages)/two stages, on the same labels. The second is measured as ln(risk / Var y), since there E[y | a] is constant. (The ratio of the two learners' *excess* risks is not 1
    without a connection: the two-stage learner sees in its unlabelled pairs that there is none, the other must find out from labels.)
    """

    intact: bool = False

    def analytic(self, world: ConnectionLinear) -> Sides:
        return {"no heterogeneity": Interval.exact(0.0), "no connection": Interval.exact(0.0)}

    def empirical(self, world: ConnectionLinear, trial: Trial) -> Sides:
        alike = world if self.intact else replace(world, q=world.d)
        cut = replace(world, sigma_w=1.0) if self.intact else replace(world, gain=0.0, sigma_w=1.0)
        one, two = excess_risks(alike, at(trial, "alike"))
        gain = relative(student(one - two, alpha=trial.alpha / 4), student(two, alpha=trial.alpha / 4))
        _, excess = excess_risks(cut, at(trial, "cut"))
        noise = cut.sigma**2 + cut.sigma_w**2 * cut.strength**2
        variance = noise + cut.gain**2 * cut.strength**2
        share = log_mean(excess + noise, alpha=trial.alpha / 4) + -math.log(variance)
        return {"no heterogeneity": gain, "no connection": share}

    def controls(self) -> tuple[Control, ...]:
        whole = replace(self, id=f"{self.id}!intact", statement=f"control (both intact): {self.statement}", intact=True)
        return (Control("a connection with q < d", whole, self.world),)


_OURS = Source("lu2023", "the linear case, our closed forms", "derived here")

EXCESS_RISKS: Claim[Any] = ExcessRisks(
    id="C3.1",
    source=_OURS,
    statement="In the linear connection the expected excess risks of one stage and of two have closed forms.",
    world=ConnectionLinear(d=20, q=2, n=40, m=100),
    budgets={"small": Budget(4000, 8000), "full": Budget(8000, 64000)},
    margin=0.05,
    unit="fits",
)

ADVANTAGE_FACTOR: Claim[Any] = AdvantageFactor(
    id="C3.2",
    source=_OURS,
    statement="Learning through the connection is better by the factor (d/q)(n−q−1)/(n−d−1) as m → ∞ and its noise → 0.",
    world=ConnectionLinear(d=10, q=1, n=30, m=30, sigma_w=0.005),
    budgets={"small": Budget(12000, 48000), "full": Budget(48000, 96000)},
    margin=0.12,
    unit="fits",
)

UNLABELLED_RATE: Claim[Any] = UnlabelledRate(
    id="C3.3",
    source=_OURS,
    statement="With the predictor known, the excess risk through the connection falls like 1/m in the unlabelled pairs.",
    world=ConnectionLinear(d=4, q=2, n=40),
    budgets={"small": Budget(4000, 8000), "full": Budget(8000, 32000)},
    margin=0.1,
    unit="fits",
)

NO_GAIN: Claim[Any] = NoGain(
    id="C3.6",
    source=_OURS,
    statement="Without heterogeneity, or without a connection, learning through the connection gains nothing.",
    world=ConnectionLinear(d=10, q=2, n=40, m=200, sigma_w=0.005),
    budgets={"small": Budget(1000, 8000), "full": Budget(8000, 64000)},
    margin=0.1,
    unit="fits",
)
