"""T2 and T2′: how fast the shortest direction dies out, and what an inexact solver leaves standing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, final

import torch
from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import MGDA
from mmtheory.moo.problems import Path, Problem
from mmtheory.rng import Stream
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, alive, frank_wolfe, most, runs, walked


@final
@dataclass(frozen=True)
class Stationarity(Claim[Quad]):
    r"""The least squared direction so far, in units of the bound, at every T.

    .. math:: \min_{k<T}\|d_k\|^2 \le \frac{2 L \min_i (f_i(x_0) - \inf f_i)}{T}

    Left: the largest ratio over T and replicates. Right: 1. Nothing is convex here: the bells of VLMOP2, and the sphere.

    :param share: part of the bound that is claimed, 1 by the theorem.
    :param step: the step in units of 1/L; a short one breaks the constant.
    """

    share: float = 1.0
    step: float = 1.0
    kinds: tuple[str, ...] = ("vlmop2", "smooth-dtlz2", "quadratics", "world")
    steps: int = 60

    def analytic(self, world: Quad) -> Sides:
        return {kind: Interval.exact(self.share) for kind in self.kinds}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, problem, start in runs(world, trial, self.kinds):
            path = walked(problem, "mgda", start, self.step, self.steps)
            sides[kind] = most(path.squared.cummin(0).values / allowance(problem, path), alive(path.squared))
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor, kinds=("quadratics",))

    def controls(self) -> tuple[Control, ...]:
        short = replace(self, id=f"{self.id}!step", step=0.05, kinds=("world",))
        fast = replace(self, id=f"{self.id}!T squared", share=0.05, kinds=("quadratics",))
        return (
            Control("a step of 0.05/L with the constant of 1/L", short, self.world),
            Control("a twentieth of the bound", fast, self.world),
        )


def allowance(problem: Problem, path: Path) -> Tensor:
    """2L min_i Δ_i / T for every T, ``[T, *batch]``."""
    fall = (path.values[0] - problem.infima).amin(-1)
    count = torch.arange(1, len(path.weights) + 1, dtype=torch.float64, device=fall.device)
    return 2 * problem.smoothness * fall / count.reshape(-1, *(1 for _ in fall.shape))


@final
@dataclass(frozen=True)
class InexactSolver(Claim[Quad]):
    r"""Weights with duality gap ε_k: what is lost at each step, and the floor under stationarity.

    .. math:: f_i(x_{k+1}) \le f_i(x_k) - \frac{\|d_k\|^2}{2L} + \frac{\varepsilon_k}{L}, \qquad
        \min_{k<T}\|d_k\|^2 \le \frac{2L\min_i\Delta_i}{T} + \frac2T\sum_{k<T}\varepsilon_k, \qquad
        \varepsilon = w^\top Gw - \min_i(Gw)_i

    Left: the largest excess over either, in units of the start's ‖∇f‖²/L and ‖∇f‖². Right: 0. Three solvers: exact weights mixed with a
    random point of the simplex, and Frank–Wolfe stopped early.

    :param reported: ``gap`` as computed from the weights, or ``none``: a solver that says it is exact.
    """

    reported: Literal["gap", "none"] = "gap"
    solvers: tuple[str, ...] = ("mixed 0.3", "mixed 0.01", "frank-wolfe 5")
    steps: int = 40
    share: float = 1.0

    def analytic(self, world: Quad) -> Sides:
        return {f"{solver}, {what}": Interval.exact(0.0) for solver in self.solvers for what in ("step", "rate")}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for solver in self.solvers:
            ((_, problem, start),) = runs(world, trial, ("world",))
            path = walked(problem, _solver(solver, trial.stream.child(solver)), start, 1.0, self.steps)
            L = problem.smoothness
            gaps = self.share * path.gaps if self.reported == "gap" else torch.zeros_like(path.gaps)
            scale = path.gramians[0].diagonal(dim1=-2, dim2=-1).amax(-1)
            change = (path.values[1:] - path.values[:-1]).amax(-1) + (path.squared / 2 - gaps) / L
            count = torch.arange(1, self.steps + 1, dtype=torch.float64)[:, None]
            floor = 2 * gaps.cumsum(0) / count
            excess = path.squared.cummin(0).values - allowance(problem, path) - floor
            every = torch.ones_like(excess, dtype=torch.bool)
            sides[f"{solver}, step"] = most(change * L / scale, every)
            sides[f"{solver}, rate"] = most(excess / scale, every)
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor)

    def controls(self) -> tuple[Control, ...]:
        blind = replace(self, id=f"{self.id}!no gap", reported="none", solvers=("frank-wolfe 5",))
        third = replace(self, id=f"{self.id}!third", share=0.3, solvers=("mixed 0.3",))
        return (
            Control("Frank–Wolfe stopped early and believed exact", blind, self.world),
            Control("three tenths of the gap", third, self.world),
        )


def _solver(name: str, stream: Stream) -> Callable[[Tensor], Tensor]:
    """``mixed SHARE`` or ``frank-wolfe ROUNDS``."""
    kind, _, number = name.partition(" ")
    if kind == "frank-wolfe":
        return frank_wolfe(int(number))
    share, steps = float(number), iter(range(10**9))

    def weigh(G: Tensor) -> Tensor:
        raw = -stream.child(next(steps)).draws(device=G.device).uniform("w", *G.shape[:-1]).clamp(min=1e-12).log()
        return (1 - share) * MGDA().solve(G) + share * raw / raw.sum(-1, keepdim=True)

    return weigh


STATIONARITY: Claim[Any] = Stationarity(
    id="moo/T2",
    source=Source("moo", "moo.md §5, T2", "derived here"),
    statement="Without convexity, min ‖d‖² over T steps 1/L is at most 2L min_i Δ_i/T, for every T.",
    world=Quad(norms=(1.0, 0.3), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_MOST,
    margin=1e-9,
    unit="replicates",
)
INEXACT_SOLVER: Claim[Any] = InexactSolver(
    id="moo/T2'",
    source=Source("moo", "moo.md §5, T2′", "derived here"),
    statement="A solver's duality gap ε costs ε/L of every step's decrease and leaves a floor of twice its mean under ‖d‖².",
    world=Quad(norms=(1.0, 0.1, 0.01), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_MOST,
    margin=1e-12,
    unit="replicates",
)
