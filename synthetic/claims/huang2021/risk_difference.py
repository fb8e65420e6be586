"""C1.1, C1.2, C1.4: Huang's first theorem, in the paper's constants, in the sharp form, and with the empirical complexity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, final

from torch import Tensor

from mmtheory.bounds import (
    Slack,
    empirical_risk_difference_slack,
    informative_size,
    labelling_complexity,
    risk_difference_slack,
)
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Histogram

from ._votes import Votes, bayes_gap, exceeds, failure_rates, pairs

Form = Literal["paper", "sharp", "empirical"]


@final
@dataclass(frozen=True)
class RiskDifference(Claim[Histogram]):
    r"""r(f̂_M) − r(f̂_N) ≤ γ(M, N) + slack fails with probability at most what the theorem allows.

    Left: the failure probability over samples of size m, every term of a failure being exact (risks of the learnt labellings, γ, the
    expected complexity). Right: δ/2 for the paper's constants, δ for the sharp forms. One case for each m and N ⊂ M. The 0–1 loss of a
    ±1 labelling has Lipschitz constant ½ and range 1; its class has half the complexity of the labellings.

    :param form: ``paper`` (Theorem 1), ``sharp`` (T1′), ``empirical`` (T1″: complexity of the sample itself).
    :param factor: multiplies the slack; 1 is the theorem.
    """

    form: Form = "paper"
    delta: float = 0.1
    sizes: tuple[int, ...] = (100, 1000, 10_000, 100_000)
    factor: float = 1.0

    def analytic(self, world: Histogram) -> Sides:
        allowed = self.delta / 2 if self.form == "paper" else self.delta
        return {f"{name}, m={m}": Interval.exact(allowed) for m in self.sizes for name in pairs(world)}

    def slack(self, world: Histogram, m: int, given: frozenset[str]) -> float:
        """The slack with the expected complexity of the labellings of S."""
        complexity = world.complexity(m, given).high
        if self.form == "paper":
            return self.factor * risk_difference_slack(complexity, m, self.delta, variant="paper", lipschitz=0.5).value
        return self.factor * risk_difference_slack(complexity / 2, m, self.delta, variant="sharp").value

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        return failure_rates(world, self.sizes, trial, partial(self._failures, world))

    def _failures(self, world: Histogram, m: int, stack: Votes) -> dict[str, Tensor]:
        failed: dict[str, Tensor] = {}
        risk = {s: stack.risk(s) for s in subsets(world.modalities)}
        for name, (more, fewer) in pairs(world).items():
            if self.form == "empirical":
                half = labelling_complexity(world.occupancy(stack.counts, more)) / 2
                slack = self.factor * (4 * half + empirical_risk_difference_slack(0.0, m, self.delta).value)
            else:
                slack = self.slack(world, m, more)
            rise = risk[more] - risk[fewer] - bayes_gap(world, more, fewer)
            failed[f"{name}, m={m}"] = exceeds(rise, slack)
        return failed

    def controls(self) -> tuple[Control, ...]:
        return (Control("slack × 0.01", self.tightened(0.01), self.world),)

    def tightened(self, factor: float) -> RiskDifference:
        return replace(self, id=f"{self.id}!slack × {factor:g}", factor=factor, sizes=self.sizes[:2])

    def remarks(self, world: Histogram) -> tuple[str, ...]:
        if self.form == "empirical":
            return ()
        every = frozenset(world.modalities)
        best = max(abs(bayes_gap(world, more, fewer)) for more, fewer in pairs(world).values())
        slack = {m: self.slack(world, m, every) for m in self.sizes}
        needed = informative_size(Slack(slack[self.sizes[-1]], self.delta), self.sizes[-1], best) if best else math.inf
        said = ", ".join(
            f"{value:.3g} at m = {m:,} ({'vacuous' if value >= 1 else 'informative' if value < best else 'not vacuous'})"
            for m, value in slack.items()
        )
        return (
            f"The slack of all modalities is {said}: vacuous from the loss's range 1 on, informative below the largest |γ| = {best:.3g}.",
            f"It certifies that more is better from about m = {needed:,.0f} on.",
        )


Make = Callable[..., Claim[Any]]
_MAKE: Make = partial(
    RiskDifference,
    world=Histogram(),
    budgets={"small": Budget(1000, 4000), "full": Budget(10_000, 40_000)},
    relation=Relation.AT_MOST,
    unit="samples of size m",
)
RISK_DIFFERENCE = _MAKE(
    id="C1.1",
    source=Source("huang2021", "Theorem 1, constants from a transcription", "paper"),
    statement="r(f̂_M) − r(f̂_N) − γ exceeds 8LR_m + 4C/√m + 2C√(2ln(2/δ)/m) with probability at most δ/2.",
    form="paper",
)
SHARP_RISK_DIFFERENCE = _MAKE(
    id="C1.2",
    source=Source("huang2021", "Theorem 1, sharp form T1′", "derived here"),
    statement="r(f̂_M) − r(f̂_N) − γ exceeds 4R_m(ℓ∘H∘G_M) + C√(2ln(2/δ)/m) with probability at most δ.",
    form="sharp",
)
EMPIRICAL_RISK_DIFFERENCE = _MAKE(
    id="C1.4",
    source=Source("huang2021", "Theorem 1, data-dependent form T1″", "derived here"),
    statement="r(f̂_M) − r(f̂_N) − γ exceeds 4R̂_S(ℓ∘H∘G_M) + 3C√(2ln(4/δ)/m) with probability at most δ.",
    form="empirical",
)
