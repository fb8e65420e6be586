"""C1.11 and C1.12: the slack falls as one over the root of the sample size, so there is a size from which it informs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.bounds import informative_size, labelling_complexity, risk_difference_slack
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, exponent, student
from synthetic.worlds import Histogram

from ._votes import bayes_gap, votes


def measured_slack(world: Histogram, m: int, trial: Trial, *, delta: float, alpha: float) -> dict[str, Interval]:
    """Both forms' slack with the complexity estimated from ``trial.n`` samples of size m, as intervals."""
    every = frozenset(world.modalities)
    found = torch.cat([labelling_complexity(world.occupancy(v.counts, every)) for v in votes(world, m, trial)])
    side = student(found, alpha=alpha).clipped(0.0, 1.0)
    ends = (side.low, side.high)
    paper = [risk_difference_slack(c, m, delta, variant="paper", lipschitz=0.5).value for c in ends]
    sharp = [risk_difference_slack(c / 2, m, delta, variant="sharp").value for c in ends]
    return {"paper": Interval(paper[0], paper[1], alpha), "sharp": Interval(sharp[0], sharp[1], alpha)}


@final
@dataclass(frozen=True)
class SlackRate(Claim[Histogram]):
    r"""The slack of Theorem 1 falls as m^{-1/2}, in the paper's constants and in the sharp form.

    Left: the exponent fitted to slacks whose complexity is estimated from samples, from the lowest to the highest curve that the
    estimates allow. Right: −½, to within 0.02 (the cells fill up, which bends the curve a little at small m).
    """

    sizes: tuple[int, ...] = (100, 300, 1000, 3000, 10_000, 30_000, 100_000)
    delta: float = 0.1

    def analytic(self, world: Histogram) -> Sides:
        return {variant: Interval.exact(-0.5) for variant in ("paper", "sharp")}

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        share = trial.alpha / (4 * len(self.sizes))
        measured = [measured_slack(world, m, trial, delta=self.delta, alpha=share) for m in self.sizes]
        for variant in ("paper", "sharp"):
            curve = [slack[variant] for slack in measured]
            x = [float(m) for m in self.sizes]
            fits = [exponent(x, [side.low + t * (side.high - side.low) for side, t in zip(curve, tilt, strict=True)], alpha=trial.alpha / 8)
                    for tilt in _tilts(len(curve))]  # fmt: skip
            middle = [fit.middle for fit in fits]
            sides[variant] = Interval(min(middle), max(middle), trial.alpha / 2)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "a rate of 1/m", lambda _side: Interval.exact(-1.0)),)


def _tilts(points: int) -> list[list[float]]:
    """The two curves of steepest and flattest slope inside a band: a slope is a linear function of the heights' logarithms."""
    half = points // 2
    rise = [0.0] * half + [1.0] * (points - half)
    return [rise, [1.0 - t for t in rise]]


@final
@dataclass(frozen=True)
class InformativeSize(Claim[Histogram]):
    r"""Theorem 1 certifies "all modalities beat one" only from m* = (a/|γ|)² samples on.

    Left: logarithm of the bracket of a grid of sizes in which the measured slack first falls below |γ|. Right: ln m*, with a from the
    exact complexity at the largest size; the margin is one step of the grid.
    """

    delta: float = 0.1
    ratio: float = 1.15

    def _grid(self) -> list[int]:
        return [round(1000 * self.ratio**k) for k in range(round(math.log(300) / math.log(self.ratio)))]

    def analytic(self, world: Histogram) -> Sides:
        every = frozenset(world.modalities)
        m = self._grid()[-1]
        complexity = world.complexity(m, every).middle
        gamma = world.known("bayes_risk", every) - world.known("bayes_risk", world.modalities[:1])
        slacks = {
            "paper": risk_difference_slack(complexity, m, self.delta, variant="paper", lipschitz=0.5),
            "sharp": risk_difference_slack(complexity / 2, m, self.delta, variant="sharp"),
        }
        return {
            name: Interval.exact(math.log(informative_size(slack, m, gamma.middle))) for name, slack in slacks.items()
        }

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        gap = abs(bayes_gap(world, frozenset(world.modalities), frozenset(world.modalities[:1])))
        sides: dict[str, Interval] = {}
        grid = self._grid()
        share = trial.alpha / (2 * len(grid))
        measured = [measured_slack(world, m, trial, delta=self.delta, alpha=share) for m in grid]
        for variant in ("paper", "sharp"):
            curve = [slack[variant] for slack in measured]
            above = max((math.log(m) for m, s in zip(grid, curve, strict=True) if s.low > gap), default=-math.inf)
            below = min((math.log(m) for m, s in zip(grid, curve, strict=True) if s.high < gap), default=math.inf)
            sides[variant] = Interval(min(above, below), max(above, below), trial.alpha / 2)
        return sides

    def controls(self) -> tuple[Control, ...]:
        loose = replace(self, id=f"{self.id}!half the slack")
        return (misstated(loose, "half the slack", lambda side: side - math.log(4)),)


SLACK_RATE: Claim[Any] = SlackRate(
    id="C1.11",
    source=Source("huang2021", "Theorem 1, the displayed constants", "paper"),
    statement="The slack of Theorem 1 falls as m to the power −1/2.",
    world=Histogram(),
    budgets={"small": Budget(200, 1600), "full": Budget(2000, 16_000)},
    margin=0.02,
    unit="samples of size m",
)
INFORMATIVE_SIZE: Claim[Any] = InformativeSize(
    id="C1.12",
    source=Source("huang2021", "Theorem 1, read as a certificate", "derived here"),
    statement="Theorem 1 tells all modalities from one only beyond m* = (a/|γ|)² samples.",
    world=Histogram(),
    budgets={"small": Budget(100, 800), "full": Budget(1000, 8000)},
    margin=2 * math.log(1.15),
    unit="samples of size m",
)
