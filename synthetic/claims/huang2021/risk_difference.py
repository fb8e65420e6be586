"""C1.1, C1.2, C1.4: Huang's first theorem, in the paper's constants, in the sharp form, and with the empirical complexity."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, final

from torch import Tensor

from mmtheory.bounds import empirical_risk_difference_slack, labelling_complexity, risk_difference_slack
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Histogram

from ._votes import bayes_gap, exceeds, failure_rates, pairs, votes

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
    :param of_fewer: takes the complexity of N in place of M's, which is a wrong formula.
    """

    form: Form = "paper"
    delta: float = 0.1
    sizes: tuple[int, ...] = (100, 1000, 10_000, 100_000)
    factor: float = 1.0
    of_fewer: bool = False

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
        cases = {
            f"{name}, m={m}": partial(self._failures, world, m, *pair, trial)
            for m in self.sizes
            for name, pair in pairs(world).items()
        }
        return failure_rates(cases, trial)

    def _failures(
        self, world: Histogram, m: int, more: frozenset[str], fewer: frozenset[str], trial: Trial
    ) -> Iterator[Tensor]:
        gap = bayes_gap(world, more, fewer)
        judged = fewer if self.of_fewer else more
        fixed = None if self.form == "empirical" else self.slack(world, m, judged)
        for stack in votes(world, m, trial):
            if fixed is None:
                half = labelling_complexity(world.occupancy(stack.counts, judged)) / 2
                unit = empirical_risk_difference_slack(0.0, m, self.delta).value
                slack = self.factor * (4 * half + unit)
            else:
                slack = fixed
            yield exceeds(stack.risk(more) - stack.risk(fewer) - gap, slack)

    def controls(self) -> tuple[Control, ...]:
        small = replace(self, id=f"{self.id}!slack × 0.01", factor=0.01, sizes=(100, 1000))
        return (Control("slack × 0.01", small, self.world),)

    def ladder(self) -> dict[str, Claim[Any]]:
        """The same statement with less and less slack: how much of it could be saved in this world."""
        return {f"slack × {c:g}": replace(self, id=f"{self.id}~{c:g}", factor=c) for c in (0.5, 0.1, 0.05, 0.02)}


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
