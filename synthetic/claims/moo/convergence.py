"""C10.3 and the stuck point: which methods end on the Pareto set, and where the min-norm direction stops too early."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.moo import MGDA, WEIGHTINGS
from mmtheory.moo.problems import ElementWise
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, runs, walked


@final
@dataclass(frozen=True)
class ReachesParetoSet(Claim[Quad]):
    r"""The largest distance of the last point to the Pareto point with its own min-norm multipliers, relative to the start's.

    .. math:: x(\lambda) = \Bigl(\sum_i \lambda_i Q_i\Bigr)^{-1}\sum_i \lambda_i Q_i a_i, \qquad \|x_T - x(w(x_T))\| \to 0

    Right: ``within``, after so many steps 1/L along weights divided by their sum. IMTL-G and ConFIG are not among the methods: on the
    Pareto set of two objectives the Gramian is singular and their pseudo-inverse directions are not defined by their limits.
    """

    methods: tuple[str, ...] = ("mean", "mgda", "upgrad", "dualproj", "pcgrad", "cagrad", "sdmgrad", "nash", "fairgrad")
    steps: int = 60
    within: float = 1e-4

    def analytic(self, world: Quad) -> Sides:
        return {method: Interval.exact(self.within) for method in self.methods}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        ((_, problem, start),) = runs(world, trial, ("world",))
        for method in self.methods:
            path = walked(problem, shares(method), start, 1.0, self.steps)
            rows = problem.jacobian(path.points[[0, -1]])
            ends = problem.pareto_point(MGDA().solve(rows @ rows.mT))
            first, last = (path.points[[0, -1]] - ends).norm(dim=-1)
            sides[method] = Interval.exact(float((last.nan_to_num(torch.inf) / first.clamp(min=0.1)).amax()))
        return sides

    def controls(self) -> tuple[Control, ...]:
        early = replace(self, id=f"{self.id}!early", steps=3, methods=("mgda",))
        away = replace(self, id=f"{self.id}!away", methods=("ngdiff",))
        return (
            Control("three steps", early, self.world),
            Control("unlearning one of the objectives", away, self.world),
        )


def shares(method: str) -> Callable[[Tensor], Tensor]:
    """The method's weights over the sum of their sizes: the directions of Nash-MTL do not shrink by themselves."""

    def weigh(G: Tensor) -> Tensor:
        w = WEIGHTINGS[method]().solve(G)
        return w / w.abs().sum(-1, keepdim=True)

    return weigh


@final
@dataclass(frozen=True)
class StuckPoint(Claim[Quad]):
    r"""Where descent on f = (x₁², x₂²) from (0, −3) ends: MGDA at once, because one gradient is zero; the others at the origin.

    Left: the last point's distance from 0. Right: 3 for MGDA, 0 for UPGrad and the mean.
    """

    steps: int = 120

    def analytic(self, world: Quad) -> Sides:
        return {"mgda": Interval.exact(3.0), "upgrad": Interval.exact(0.0), "mean": Interval.exact(0.0)}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem, start = ElementWise(), torch.tensor([0.0, -3.0], dtype=torch.float64)
        sides: dict[str, Interval] = {}
        for method in ("mgda", "upgrad", "mean"):
            path = walked(problem, method, start, 1.0, self.steps)
            sides[method] = Interval.exact(float(path.points[-1].norm()))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "everybody reaches the same point", lambda _side: Interval.exact(0.0)),)


REACHES: Claim[Any] = ReachesParetoSet(
    id="C10.3",
    source=Source("moo", "theory.md §10: the Pareto set of convex quadratics", "derived here"),
    statement="Every solver that combines the gradients with positive weights ends on the Pareto set of the quadratics.",
    world=Quad(norms=(1.0, 0.5), cosine=-0.3, condition=4.0),
    budgets={"small": Budget(8, 8), "full": Budget(200, 200)},
    relation=Relation.AT_MOST,
    unit="starts",
)
STUCK_POINT: Claim[Any] = StuckPoint(
    id="moo/stuck",
    source=Source("moo", "moo.md §5: stuck points", "derived here"),
    statement="Where one gradient vanishes the min-norm direction stops at once, though UPGrad and the mean go on to the Pareto point.",
    world=Quad(),
    budgets=EXACT,
    margin=1e-6,
    unit="starts",
)
