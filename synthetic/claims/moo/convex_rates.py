"""T3 and T4: how fast the merit falls on convex objectives, and on strongly convex ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo.problems import CommonHessian, Problem
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, most, runs, walked

SMALLEST = 1e-7


def chosen(kind: str, problem: Problem) -> Problem:
    """The problem itself, or, for a common Hessian, one whose slowest direction nearly never ends."""
    if kind != "common-hessian":
        return problem
    d = problem.dim
    steep = torch.diag(1000.0 ** -torch.linspace(0, 1, d, dtype=torch.float64))
    return CommonHessian(problem.centres, steep) if isinstance(problem, CommonHessian) else problem


@final
@dataclass(frozen=True)
class ConvexRate(Claim[Quad]):
    r"""The merit after k steps 1/L, in units of its bound, for every k.

    .. math:: u_0(x_k) \le \frac{L\|x_0 - z_k\|^2}{2k}, \qquad z_k \in \arg\max_z \min_i (f_i(x_k) - f_i(z))

    This is the theorem's LR²/(2k) with the distance to the point that attains the supremum in place of the largest one of the level set,
    hence sharper. Left: the largest ratio. Right: 1.

    :param share: part of the bound that is claimed.
    :param step: the step in units of 1/L.
    """

    share: float = 1.0
    step: float = 1.0
    kinds: tuple[str, ...] = ("common-hessian", "world", "spheres")
    steps: int = 24

    def analytic(self, world: Quad) -> Sides:
        return {kind: Interval.exact(self.share) for kind in self.kinds}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, drawn, start in runs(world, trial, self.kinds):
            problem = chosen(kind, drawn)
            path = walked(problem, "mgda", start, self.step, self.steps)
            looks = torch.tensor(sorted({1, 2, 3, 5, 8, 13, self.steps}))
            merit = problem.merit(path.points[looks])
            bound = problem.smoothness * ((start - merit.point) ** 2).sum(-1) / (2 * looks[:, None])
            ratio = merit.high / bound.clamp(min=1e-12)
            sides[kind] = most(ratio, torch.ones_like(ratio, dtype=torch.bool))
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor, kinds=("common-hessian",))

    def controls(self) -> tuple[Control, ...]:
        still = replace(self, id=f"{self.id}!still", step=1e-3, kinds=("world",))
        twelfth = replace(self, id=f"{self.id}!twelfth", share=1 / 12, kinds=("common-hessian",))
        return (
            Control("a thousandth of the step", still, self.world),
            Control("a twelfth of the bound", twelfth, self.world),
        )


@final
@dataclass(frozen=True)
class StronglyConvexRate(Claim[Quad]):
    r"""What is left of the merit after one step 1/L.

    .. math:: u_0(x_{k+1}) \le \Bigl(1 - \frac\mu L\Bigr) u_0(x_k)

    Left: the least of (1 − u₀(x_{k+1})/u₀(x_k))·L/μ over steps and replicates, from certified brackets of both. Right: 1. Along the
    slowest direction alone it is 2 − μ/L, so about half of the promise is spare.

    :param promise: what is claimed, 1 by the theorem.
    :param step: the step in units of 1/L.
    """

    promise: float = 1.0
    step: float = 1.0
    kinds: tuple[str, ...] = ("spheres", "common-hessian", "world", "logistic-pair")
    steps: int = 6

    def analytic(self, world: Quad) -> Sides:
        return {kind: Interval.exact(self.promise) for kind in self.kinds}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, problem, start in runs(world, trial, self.kinds):
            # On spheres 1/L is the last step; half of it keeps something to measure, with half the promise.
            part = 0.5 if kind == "spheres" else 1.0
            path = walked(problem, "mgda", start, self.step * part, self.steps)
            merit = problem.merit(path.points)
            high, low = merit.high[1:], merit.low[:-1]
            live = low > SMALLEST * path.values[0].amax(-1)
            kept = high / low.where(live, 1.0)
            ratio = (1 - kept) * problem.smoothness / problem.convexity / part
            sides[kind] = Interval.exact(float(torch.where(live, ratio, torch.inf).amin()))
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(
            self, id=f"{self.id}!{factor:g}", promise=self.promise / factor, kinds=("common-hessian", "spheres")
        )

    def controls(self) -> tuple[Control, ...]:
        short = replace(self, id=f"{self.id}!step", step=0.3, kinds=("common-hessian", "spheres"))
        twice = replace(self, id=f"{self.id}!twice", promise=2.0, kinds=("spheres",))
        return (
            Control("three tenths of the step", short, self.world),
            Control("twice the promise", twice, self.world),
        )


CONVEX_RATE: Claim[Any] = ConvexRate(
    id="moo/T3",
    source=Source("moo", "moo.md §5, T3, in its pointwise form", "derived here"),
    statement="On convex objectives the merit u₀ after k steps 1/L is at most L‖x₀ − z_k‖²/(2k), for every k.",
    world=Quad(norms=(1.0, 0.3), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_MOST,
    margin=1e-9,
    unit="replicates",
)
STRONGLY_CONVEX_RATE: Claim[Any] = StronglyConvexRate(
    id="moo/T4",
    source=Source("moo", "moo.md §5, T4", "derived here"),
    statement="On μ-strongly convex objectives each step 1/L leaves at most 1 − μ/L of the merit u₀.",
    world=Quad(norms=(1.0, 0.3), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_LEAST,
    margin=1e-6,
    unit="replicates",
)
