"""Stochastic methods: how fast stationarity and the distance from the conflict-avoiding direction fall with the horizon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import MGDA, MoCo, MoDo, SDMGrad, gramian
from mmtheory.moo.problems import NoisyQuadratics
from mmtheory.rng import Stream
from mmtheory.stats import Interval, Relation, slope, student
from synthetic.worlds import Quad

GROUPS = 32
ROUND = 50


@dataclass(frozen=True)
class Rule:
    """A stochastic method with its step α = a·T^p and weight rate γ = c·T^q, and what it is said to attain."""

    method: str
    measure: str
    claimed: float
    step: tuple[float, float] = (0.5, -0.5)
    rate: tuple[float, float] = (0.5, -0.5)


RULES = (
    Rule("modo", "stationarity", -0.5),
    Rule("modo", "CA distance", -0.25, (1.0, -0.75), (1.0, -0.25)),
    Rule("moco", "stationarity", -0.5),
    Rule("sdmgrad", "stationarity", -0.5),
)


@final
@dataclass(frozen=True)
class HorizonExponents(Claim[Quad]):
    r"""Exponents of time averages over horizons T, each horizon with its own constant steps.

    .. math:: \frac1T\sum_{t<T} \|d^*(x_t)\|^2 \sim T^{b}, \qquad \frac1T\sum_{t<T}\|J(x_t)^\top w_t - d^*(x_t)\|^2 \sim T^{b}

    d* is the population's min-norm direction. Left: Student's interval of the slopes of independent groups of replicates. Right: what is
    claimed; a faster decay is no failure, so the relation is one-sided. Plug-in weights from one noisy batch do not come near d*: their
    bias is a floor that stationarity alone does not show.
    """

    rules: tuple[Rule, ...] = field(default=RULES)
    horizons: tuple[int, ...] = (50, 100, 200, 400, 800)
    noise: float = 0.3

    def analytic(self, world: Quad) -> Sides:
        return {f"{rule.method}, {rule.measure}": Interval.exact(rule.claimed) for rule in self.rules}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        problem = NoisyQuadratics(world.problem.centres, world.problem.hessians, self.noise)
        alpha = trial.alpha / len(self.rules)
        each = max(trial.n // GROUPS, 1)
        for rule in self.rules:
            case = f"{rule.method}, {rule.measure}"
            means = averages(problem, rule, self.horizons, GROUPS * each, trial.stream.child(case))
            curves = means.reshape(len(self.horizons), GROUPS, each).mean(-1).log()
            x = torch.tensor(self.horizons, dtype=torch.float64).log()
            fits = torch.tensor([slope(x, curve, alpha=0.5).middle for curve in curves.T], dtype=torch.float64)
            sides[case] = student(fits, alpha=alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        plug = Rule("plug-in", "CA distance", -0.25)
        biased = replace(self, id=f"{self.id}!plug-in", rules=(plug,), noise=1.0)
        fixed = replace(self, id=f"{self.id}!fixed", rules=(Rule("modo", "stationarity", -0.5, (0.5, 0.0)),), noise=1.0)
        return (
            Control("min-norm weights of one noisy Gramian", biased, self.world),
            Control("a step that does not know the horizon", fixed, self.world),
        )


def averages(problem: NoisyQuadratics, rule: Rule, horizons: tuple[int, ...], count: int, stream: Stream) -> Tensor:
    """The rule's measure averaged over each horizon, ``[horizons, count]``; horizons that are over leave the computation."""
    lengths = torch.tensor(horizons, dtype=torch.float64)
    alpha, gamma = (c * lengths**p for c, p in (rule.step, rule.rate))
    m, d = problem.centres.shape[-2:]
    x = torch.ones(len(horizons), count, d, dtype=torch.float64)
    state = torch.full((len(horizons), count, m), 1 / m, dtype=torch.float64)
    tracked = problem.jacobian(x)
    total = torch.zeros(len(horizons), count, dtype=torch.float64)
    live, noise = slice(0, None), torch.empty(0)
    for t in range(max(horizons)):
        if t % ROUND == 0:
            live = slice(sum(t >= T for T in horizons), None)
            noise = stream.child(t).draws().normal("z", ROUND, 2, len(lengths[live]), count, m, d)
        J = problem.jacobian(x[live])
        one, two = (J + problem.noise * z for z in noise[t % ROUND])
        seen = Seen(one, two, tracked[live], state[live], gamma[live, None, None, None])
        state[live], tracked[live], w, rows = ADVANCE[rule.method](seen)
        shortest = (MGDA().solve(gramian(J))[..., None] * J).sum(-2)
        apart = (w[..., None] * J).sum(-2) - shortest if rule.measure == "CA distance" else shortest
        total[live] += (apart**2).sum(-1)
        x[live] -= alpha[live, None, None] * (w[..., None] * rows).sum(-2)
    return total / lengths[:, None]


class Seen(NamedTuple):
    """What a step sees: two independent noisy Jacobians, tracked rows, weights, and the weights' rate of each horizon."""

    one: Tensor
    two: Tensor
    tracked: Tensor
    state: Tensor
    gamma: Tensor


Step = tuple[Tensor, Tensor, Tensor, Tensor]
"""Next state, next tracked rows, weights of this step, rows that the parameters move along."""


def _modo(s: Seen) -> Step:
    # The library's rate is one number for all; here every horizon has its own, so it goes into the cross-Gramian.
    _, after = MoDo(rate=1.0, ridge=0.0).double_sampled(s.gamma * (s.one @ s.two.mT), s.state)
    return after, s.tracked, s.state, (s.one + s.two) / 2


def _moco(s: Seen) -> Step:
    moved = s.tracked.lerp((s.one + s.two) / 2, s.gamma.expand(s.tracked.shape))
    after = MoCo(rate=1.0, ridge=0.0).advance(s.gamma * gramian(moved), s.state)[0]
    return after, moved, s.state, moved


def _sdmgrad(s: Seen) -> Step:
    # One inner round a step, at a rate of its own: the authors' normalisation of the cross-Gramian takes any common factor out again.
    w, after = SDMGrad(lam=0.1).descend(s.one @ s.two.mT, s.state, rate=0.2, momentum=0.0, rounds=1)
    return after, s.tracked, w, (s.one + s.two) / 2


def _plug_in(s: Seen) -> Step:
    return s.state, s.tracked, MGDA().solve(gramian(s.one)), s.one


ADVANCE: dict[str, Callable[[Seen], Step]] = {"modo": _modo, "moco": _moco, "sdmgrad": _sdmgrad, "plug-in": _plug_in}


HORIZON_EXPONENTS: Claim[Any] = HorizonExponents(
    id="moo/horizons",
    source=Source("moo", "moo.md §6: rates of MoDo, MoCo and SDMGrad; their steps and the CA distance", "recalled"),
    statement="Stationarity falls as T^−1/2 under MoDo, MoCo and SDMGrad, and MoDo's distance from the min-norm direction as T^−1/4.",
    world=Quad(norms=(1.0, 1.0), cosine=-0.3, condition=3.0, dim=6),
    budgets={"small": Budget(64, 128), "full": Budget(512, 1024)},
    relation=Relation.AT_MOST,
    margin=0.05,
    unit="replicates",
)
