"""C3.5: the bound for predicting through a learnt connection covers the risk of exact empirical risk minimisers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.bounds import connection_bound, finite_class_complexity
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation, clopper_pearson
from synthetic.claims._fits import data_sets
from synthetic.worlds import ConnectionLinear

from ._learners import at


@final
@dataclass(frozen=True)
class TwoStageBound(Claim[ConnectionLinear]):
    r"""P(r(f̂∘ĝ) > bound) <= δ, for finite classes searched exhaustively.

    b is scalar (q = 1); the predictors are b ↦ βb for ``slopes``, the connections are "b is the k-th coordinate of a", and the loss is
    |error|/``cap`` cut at 1, so that every population risk is a truncated mean of a normal variable, in closed form. ``scale`` shrinks the
    slack: at 0.01 the bound must fail, else it is too loose in this world to say anything.
    """

    slopes: tuple[float, ...] = (0.5, 0.0, -0.5, 1.0)
    cap: float = 2.0
    delta: float = 0.05
    scale: float = 1.0
    noises: tuple[float, ...] = (0.0, 0.2)

    def broken_assumptions(self, world: ConnectionLinear) -> tuple[str, ...]:
        return () if world.q == 1 else (f"the closed-form risks need q = 1, found {world.q}",)

    def analytic(self, world: ConnectionLinear) -> Sides:
        return {f"sigma_w={noise:g}": Interval.exact(self.delta) for noise in self.noises}

    def empirical(self, world: ConnectionLinear, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for noise in self.noises:
            place = replace(world, sigma_w=noise)
            risk = self._deployed(place, trial)
            failures = int((risk > self._bound(place) + 1e-12).sum())
            sides[f"sigma_w={noise:g}"] = clopper_pearson(failures, trial.n, alpha=trial.alpha / len(self.noises))
        return sides

    def _bound(self, world: ConnectionLinear) -> float:
        """The right side, from the best hypotheses of both classes."""
        steep = max(map(abs, self.slopes))
        reach = self.cap / steep  # L·C_g = C
        beta, spread = float(world.readout[0]), world.gain**2 + world.sigma_w**2
        errors = torch.tensor([(s - beta) ** 2 * spread + world.sigma**2 for s in self.slopes], dtype=torch.float64)
        nearest = float(_truncated_mean(torch.tensor(world.sigma_w**2, dtype=torch.float64), reach)) * reach
        return connection_bound(
            float(_truncated_mean(errors, self.cap).min()),
            nearest,
            predictor_complexity=finite_class_complexity(len(self.slopes), world.n, 1.0),
            connection_complexity=finite_class_complexity(world.d, world.m, reach),
            labelled=world.n,
            unlabelled=world.m,
            loss_range=1.0,
            connection_range=reach,
            lipschitz=steep / self.cap,
            delta=self.delta,
            scale=self.scale,
        ).value

    def _deployed(self, world: ConnectionLinear, trial: Trial) -> Tensor:
        """Population risk of the two empirical risk minimisers put together, one a replicate."""
        reach = self.cap / max(map(abs, self.slopes))
        chosen: list[Tensor] = []
        for part in data_sets(world, world.m, world.d + 1, at(trial, "unlabelled", str(world.sigma_w))):
            apart = (part.x["b"] - world.gain * part.x["a"]).abs().clamp(max=reach).mean(-2)
            chosen.append(apart.argmin(-1))
        slopes = torch.tensor(self.slopes, dtype=torch.float64, device=trial.device)
        fitted: list[Tensor] = []
        for part in data_sets(world, world.n, world.d + 1, at(trial, "labelled", str(world.sigma_w))):
            error = (part.x["b"] * slopes - part.y[..., None]).abs() / self.cap
            fitted.append(slopes[error.clamp(max=1.0).mean(-2).argmin(-1)])
        slope, right = torch.cat(fitted), torch.cat(chosen) == 0
        beta = float(world.readout[0])
        # y − f̂(ĝ(a)) is normal: the true coordinate and the chosen one coincide, or both contribute.
        missed = torch.where(right, (slope - beta) ** 2, slope**2 + beta**2) * world.gain**2
        return _truncated_mean(missed + world.sigma**2 + (beta * world.sigma_w) ** 2, self.cap)

    def controls(self) -> tuple[Control, ...]:
        thin = replace(self, id=f"{self.id}!1%", statement=f"control (1 % of the slack): {self.statement}", scale=0.01)
        return (Control("one per cent of the slack", thin, self.world),)


def _truncated_mean(variance: Tensor, cap: float) -> Tensor:
    """E min(1, |N(0, v)|/cap)."""
    sd = variance.sqrt().clamp(min=1e-300)
    edge = cap / sd
    inside = sd / cap * math.sqrt(2 / math.pi) * (1 - torch.exp(-(edge**2) / 2))
    return inside + torch.special.erfc(edge / math.sqrt(2))


TWO_STAGE_BOUND: Claim[Any] = TwoStageBound(
    id="C3.5",
    source=Source("lu2023", "the generalisation bound, our constants", "derived here"),
    statement="The risk of a predictor deployed through a learnt connection exceeds the bound with probability at most δ.",
    world=ConnectionLinear(d=20, q=1, n=10, m=400, strength=0.5),
    budgets={"small": Budget(500, 2000), "full": Budget(2000, 10000)},
    relation=Relation.AT_MOST,
    unit="replicates",
)
