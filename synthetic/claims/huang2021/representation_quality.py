"""C1.3: Huang's second theorem: the quality of a learnt representation is bounded by its empirical loss and complexities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.bounds import Variant, quality_slack
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Histogram

from ._votes import Votes, bayes_gap, exceeds, failure_rates


@final
@dataclass(frozen=True)
class RepresentationQuality(Claim[Histogram]):
    r"""η(ĝ_M) ≤ L̂(f̂_M, S) + slack fails with probability at most δ, for frozen and for learnt encoders, in both forms.

    Frozen: the representation is the modalities themselves, η = r*(M) − r*(all). Learnt: all maps from cells to two codes, of which the
    majority vote is the empirical minimiser, and η is the least mass of each code minus r*(all). L̂ is the empirical risk minus that of
    the Bayes rule on the same sample, and can be negative.

    :param factor: multiplies the slack; 1 is the theorem.
    """

    delta: float = 0.1
    sizes: tuple[int, ...] = (100, 1000, 10_000)
    factor: float = 1.0

    def analytic(self, world: Histogram) -> Sides:
        return {name: Interval.exact(self.delta) for m in self.sizes for name in self._cases(world, m)}

    def _cases(self, world: Histogram, m: int) -> dict[str, tuple[Variant, str, frozenset[str]]]:
        return {
            f"{variant}, {encoder} {','.join(sorted(s))}, m={m}": (variant, encoder, s)
            for variant in ("paper", "sharp")
            for encoder in ("frozen", "learnt")
            for s in subsets(world.modalities)
        }

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        return failure_rates(world, self.sizes, trial, partial(self._failures, world))

    def _failures(self, world: Histogram, m: int, stack: Votes) -> dict[str, Tensor]:
        every = frozenset(world.modalities)
        bayes = world.bayes_labels().expand(*stack.counts.shape[:-1])
        reference = world.empirical_risk(bayes, stack.counts)
        centred = {s: stack.empirical_risk(s) - reference for s in subsets(world.modalities)}
        quality = {("frozen", s): torch.full_like(reference, bayes_gap(world, s, every)) for s in centred}
        quality |= {("learnt", s): self._learnt_quality(world, stack, s) for s in centred}
        return {
            name: exceeds(quality[encoder, s] - centred[s], self.factor * self._slack(world, m, variant, s))
            for name, (variant, encoder, s) in self._cases(world, m).items()
        }

    def _slack(self, world: Histogram, m: int, variant: Variant, given: frozenset[str]) -> float:
        own, full = (world.complexity(m, s).high for s in (given, frozenset(world.modalities)))
        if variant == "sharp":
            return quality_slack(own / 2, m, self.delta, variant="sharp").value
        return quality_slack(own, m, self.delta, variant="paper", full_complexity=full, lipschitz=0.5).value

    @staticmethod
    def _learnt_quality(world: Histogram, stack: Votes, given: frozenset[str]) -> Tensor:
        """Least mass of each of the two codes, minus the Bayes risk from everything."""
        code = stack.labels(given).unsqueeze(-1)
        cells = list(range(-len(world.cells) - 1, -1))
        masses = [(c * world.table).sum(cells) for c in (code, 1 - code)]
        return sum((mass.amin(-1) for mass in masses), torch.zeros(())) - world.table.amin(-1).sum()

    def controls(self) -> tuple[Control, ...]:
        return (Control("slack × 0.01", self.tightened(0.01), self.world),)

    def tightened(self, factor: float) -> RepresentationQuality:
        return replace(self, id=f"{self.id}!slack × {factor:g}", factor=factor, sizes=self.sizes[:2])


REPRESENTATION_QUALITY: Claim[Any] = RepresentationQuality(
    id="C1.3",
    source=Source("huang2021", "Theorem 2, constants from a transcription, and its sharp form", "paper"),
    statement="η(ĝ_M) exceeds L̂(f̂_M, S) plus the slack of Theorem 2 with probability at most δ.",
    world=Histogram(),
    budgets={"small": Budget(1000, 4000), "full": Budget(10_000, 40_000)},
    relation=Relation.AT_MOST,
    unit="samples of size m",
)
