"""C1.4b: Huang's first theorem with the empirical complexity, for logistic regression over a ball of bounded inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from mmtheory.bounds import LogisticFit, ball_logistic, empirical_risk_difference_slack
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Histogram

from ._votes import Votes, exceeds, failure_rates, pairs


@final
@dataclass(frozen=True)
class LogisticRiskDifference(Claim[Histogram]):
    r"""r(f̂_M) − r(f̂_N) ≤ γ(M, N) + 4R̂_S + 3C√(2ln(4/δ)/m) fails with probability at most δ, in nats of logistic loss.

    The class of S: :math:`x \mapsto w^\top x_S` with :math:`\|w\| \le B`, x the one-hot symbols, so that :math:`\|x_S\| = \sqrt{|S|}`.
    Its R̂ is at most :math:`B\sqrt{|S|/m}` on every sample, the logistic loss contracts it, and the loss has the range
    :math:`C = B\sqrt{|M|}`. The left side's risks are exact sums over cells; each minimiser is certified and its gap joins the slack.

    :param radius: B.
    :param factor: multiplies the slack; 1 is the theorem.
    """

    delta: float = 0.1
    sizes: tuple[int, ...] = (30, 100, 1000)
    radius: float = 4.0
    factor: float = 1.0

    def analytic(self, world: Histogram) -> Sides:
        return {f"{name}, m={m}": Interval.exact(self.delta) for m in self.sizes for name in pairs(world)}

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        best = {s: self._fit(world, world.table[None], s) for s in subsets(world.modalities)}
        return failure_rates(world, self.sizes, trial, partial(self._failures, world, best))

    def _failures(
        self, world: Histogram, best: dict[frozenset[str], LogisticFit], m: int, stack: Votes
    ) -> dict[str, Tensor]:
        fits = {s: self._fit(world, stack.counts, s) for s in subsets(world.modalities)}
        risk = {s: _risk(_rows(world, s) @ fit.weights.mT, world.table) for s, fit in fits.items()}
        failed: dict[str, Tensor] = {}
        for name, (more, fewer) in pairs(world).items():
            reach = self.radius * math.sqrt(len(more))
            slack = 4 * reach / math.sqrt(m) + empirical_risk_difference_slack(0.0, m, self.delta, bound=reach).value
            gamma = best[more].loss - best[fewer].loss
            unsolved = fits[more].gap + fits[fewer].gap + best[fewer].gap
            failed[f"{name}, m={m}"] = exceeds(risk[more] - risk[fewer] - gamma, self.factor * slack + unsolved)
        return failed

    def _fit(self, world: Histogram, counts: Tensor, given: frozenset[str]) -> LogisticFit:
        return ball_logistic(_rows(world, given), counts.flatten(1, -2), self.radius)

    def controls(self) -> tuple[Control, ...]:
        return (Control("slack × 0.01", self.tightened(0.01), self.world),)

    def tightened(self, factor: float) -> LogisticRiskDifference:
        return replace(self, id=f"{self.id}!slack × {factor:g}", factor=factor, sizes=self.sizes[:1])


def _rows(world: Histogram, given: frozenset[str]) -> Tensor:
    """One-hot symbols of the modalities of S in every cell, [cells, d_S]."""
    cells = torch.cartesian_prod(*(torch.arange(a) for a in world.cells)).view(-1, len(world.cells))
    sizes = zip(world.modalities, world.cells, strict=True)
    return torch.cat([one_hot(cells[:, i], a) for i, (m, a) in enumerate(sizes) if m in given], -1).double()


def _risk(margins: Tensor, table: Tensor) -> Tensor:
    """Expected logistic loss of each replicate, from its margins in every cell [cells, R]."""
    mass = table.flatten(0, -2)
    return mass[:, 1] @ softplus(-margins) + mass[:, 0] @ softplus(margins)


LOGISTIC_RISK_DIFFERENCE: Claim[Any] = LogisticRiskDifference(
    id="C1.4b",
    source=Source("huang2021", "Theorem 1, data-dependent form T1″, logistic loss", "derived here"),
    statement="For logistic regression over a ball, r(f̂_M) − r(f̂_N) − γ exceeds 4B√(|M|/m) + 3C√(2ln(4/δ)/m) with probability at most δ.",
    world=Histogram(),
    budgets={"small": Budget(1000, 4000), "full": Budget(10_000, 40_000)},
    relation=Relation.AT_MOST,
    unit="samples of size m",
)
