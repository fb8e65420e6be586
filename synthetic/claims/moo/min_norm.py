"""C10.1: the min-norm direction has its closed form, descends on all objectives, and dies out at the rate that its steps promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import WEIGHTINGS, gramian
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, alive, frank_wolfe, least, walked


@final
@dataclass(frozen=True)
class MinNorm(Claim[Quad]):
    r"""Four ratios that are at least 1 on the world's own objectives.

    .. math:: \frac{\|d(0)\|^2}{\text{closed form}},\ \frac{\text{closed form}}{\|d(0)\|^2}; \qquad
        \frac{\langle g_i, d\rangle}{\|d\|^2}; \qquad \frac{2 \min_i (f_i(x_0) - \inf f_i)}{\eta\, T \min_{t<T}\|d_t\|^2} \text{ for every } T

    The closed form is the world's, of a cosine and norms; the direction is the solver's, from the Gramian.
    """

    weighting: str | Callable[[Tensor], Tensor] = "mgda"
    steps: int = 200

    def analytic(self, world: Quad) -> Sides:
        shortest = world.answers()["squared min-norm"].middle
        one = Interval.exact(1.0)
        return {
            "length at 0": Interval.exact(shortest),
            "minus the length at 0": Interval.exact(-shortest),
            "common descent": one,
            "rate": one,
        }

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem = world.problem
        weigh = WEIGHTINGS[self.weighting]().solve if isinstance(self.weighting, str) else self.weighting
        G = gramian(problem.jacobian(torch.zeros(world.dim, dtype=torch.float64)))
        w = weigh(G)
        found = float(w @ G @ w)
        start = 2 * trial.stream.draws(range(trial.n)).normal("x", world.dim)
        path = walked(problem, weigh, start, 1.0, self.steps)
        live = alive(path.squared)
        squared = path.squared.where(live, 1.0)
        fall = (path.values[0] - problem.infima).amin(-1)
        count = torch.arange(1, self.steps + 1, dtype=torch.float64)[:, None]
        lowest = path.squared.cummin(0).values.where(live, 1.0)
        return {
            "length at 0": Interval.exact(found),
            "minus the length at 0": Interval.exact(-found),
            "common descent": least(path.slopes.amin(-1) / squared, live),
            "rate": least(2 * problem.smoothness * fall / (count * lowest), live),
        }

    def controls(self) -> tuple[Control, ...]:
        even = replace(self.world, norms=(1.0, 1.0, 1.0), cosine=-0.3)
        return (
            Control("the mean", replace(self, id=f"{self.id}!mean", weighting="mean"), self.world),
            Control("one round of Frank–Wolfe", replace(self, id=f"{self.id}!early", weighting=frank_wolfe(1)), even),
        )


MIN_NORM: Claim[Any] = MinNorm(
    id="C10.1",
    source=Source("moo", "theory.md §10: MGDA of two losses and its rate", "known"),
    statement="The min-norm direction has its closed form, is a common descent direction, and its least square falls as 2Δ/(ηT).",
    world=Quad(norms=(1.0, 0.4), cosine=-0.6),
    budgets=EXACT,
    relation=Relation.AT_LEAST,
    margin=1e-6,
    unit="replicates",
)
