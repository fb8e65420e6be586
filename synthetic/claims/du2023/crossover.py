"""C6.2: from a computable mass of paired features on, joint training beats the ensemble of unimodal learners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import Saturation

from ._draws import learnt

MASSES = (0.11, 0.29)


@final
@dataclass(frozen=True)
class Crossover(Claim[Saturation]):
    """The sign of E err(joint) − E err(UME) on a grid of paired masses: + before the exact crossing, − behind it.

    Left: the sign of the mean difference over training sets, [−1, 1] while its confidence interval holds 0.
    """

    factor: float = 1.0

    def analytic(self, world: Saturation) -> Sides:
        crossing = world.crossover() * self.factor
        return {_case(q): Interval.exact(1.0 if q < crossing.low else -1.0) for q in MASSES}

    def empirical(self, world: Saturation, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for q in MASSES:
            here = learnt(replace(world, paired=(q,)), trial.stream, trial.n)
            mean = student(here.joint_risk - here.ensemble_risk, alpha=trial.alpha / len(MASSES))
            ends = (-1.0 if mean.low <= 0 else 1.0, 1.0 if mean.high >= 0 else -1.0)
            sides[_case(q)] = Interval(*ends, mean.alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        wrong = {"a crossing at half of it": 0.5, "a crossing at half as much again": 1.5}
        return tuple(Control(n, replace(self, id=f"{self.id}!{f}", factor=f), self.world) for n, f in wrong.items())


def _case(mass: float) -> str:
    """The grid point's name."""
    return f"q={mass:g}"


CROSSOVER: Claim[Any] = Crossover(
    id="C6.2",
    source=Source("du2023", "when paired features dominate, constructive version", "derived here"),
    statement="Joint training overtakes the ensemble at the computed mass of the paired feature.",
    world=Saturation(presence=((0.5, 0.3, 0.2, 0.1, 0.05), (0.45, 0.3, 0.2, 0.1, 0.05)), n=20),
    budgets={"small": Budget(1000, 8000), "full": Budget(8000, 64000)},
    margin=0.5,
    unit="training sets",
)
