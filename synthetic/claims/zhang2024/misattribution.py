"""C5.5: while it is alone the first modality is credited with ρ/κ of the other's weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, flow

from ._measured import each, plateaus, students, wide

CASES = {"ρ=.25": (2.0, 0.25), "ρ=.5": (2.0, 0.5), "ρ=−.5": (2.0, -0.5), "κ=3 ρ=.8": (3.0, 0.8)}


@final
@dataclass(frozen=True)
class Misattribution(Claim[DeepLinear]):
    r"""Between the two passages of late fusion W_A stands at w_A + ρ/κ, for unit weights.

    .. math:: W_A(\text{phase}) - W_A(\infty) = \Sigma_{yA}\Sigma_A^{-1} - w_A = \rho/\kappa

    Left: W_A of random networks, u₀ = 1e-10, at 1.5 times its passage time, when B is not learnt yet, less its final weight.
    """

    formula: Callable[[float, float], float] = lambda kappa, rho: rho / kappa

    def analytic(self, world: DeepLinear) -> Sides:
        return {case: Interval.exact(self.formula(*dials), 1e-12) for case, dials in CASES.items()}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        net, moments = FusionNet(2, 2, 4, (1, 1)), each(CASES)
        start = (1e-10 * net.random(1.0, trial.stream.draws(range(trial.n)))).expand(len(CASES), trial.n, -1)
        marks = plateaus(moments)[:, None] * torch.tensor([1.0, math.inf])
        begun = flow(net, wide(moments), start, marks=marks, tolerance=1e-5)
        middle = flow(net, wide(moments), begun.state, until=begun.times[..., 0] / 2, tolerance=1e-5).state
        return students(net.maps(middle)[..., 0] - 1, CASES, trial.alpha)

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Callable[[float, float], float]] = {
            "ρκ": lambda k, r: r * k,
            "other sign": lambda k, r: -r / k,
        }
        return tuple(Control(n, replace(self, id=f"{self.id}!{n}", formula=f), self.world) for n, f in wrong.items())


MISATTRIBUTION: Claim[Any] = Misattribution(
    id="C5.5",
    source=Source("zhang2024", "mis-attribution in the unimodal phase", "code"),
    statement="While the first modality is alone, late fusion credits it with ρ/κ of the other's weight.",
    world=DeepLinear(),
    budgets={"small": Budget(6, 24), "full": Budget(32, 128)},
    margin=0.003,
    unit="networks",
)
