"""Replicated majority votes in the histogram world: what the claims about learning bounds measure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.claims import Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, clopper_pearson
from synthetic.worlds import Histogram

AT_ONCE = 4000


@dataclass(frozen=True)
class Votes:
    """R samples of one size, and the labellings learnt from them for every subset of modalities."""

    world: Histogram
    counts: Tensor
    ties: Tensor

    def labels(self, given: frozenset[str]) -> Tensor:
        """The learnt labelling of each replicate, spread over all cells."""
        learnt = self.world.learnt(self.counts, given, self.ties)
        return learnt.expand(*learnt.shape[: -len(self.world.cells)], *self.world.cells)

    def risk(self, given: frozenset[str]) -> Tensor:
        """Exact risk of each replicate's labelling, [R]."""
        return self.world.risk(self.labels(given))

    def empirical_risk(self, given: frozenset[str]) -> Tensor:
        """Share of its own sample that each replicate's labelling gets wrong, [R]."""
        return self.world.empirical_risk(self.labels(given), self.counts)


def votes(world: Histogram, m: int, trial: Trial) -> Iterator[Votes]:
    """``trial.n`` independent samples of size m, in stacks that fit in memory."""
    for start in range(0, trial.n, AT_ONCE):
        draws = trial.stream.child("size", m).draws(range(start, min(start + AT_ONCE, trial.n)), device=trial.device)
        yield Votes(world, world.counts(m, draws), draws.integers("ties", 2, *world.cells).double())


def pairs(world: Histogram) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Every (M, N) with N a proper non-empty subset of M, by a name."""
    every = list(subsets(world.modalities))
    return {f"{','.join(sorted(m))} over {','.join(sorted(n))}": (m, n) for m in every for n in every if n < m}


def failure_rates(
    world: Histogram, sizes: Iterable[int], trial: Trial, judge: Callable[[int, Votes], Mapping[str, Tensor]]
) -> dict[str, Interval]:
    """Clopper–Pearson interval of each case's failure probability, alphas summing to the trial's.

    :param judge: indicators of failure [R] by case, of the samples of one size; all cases of a size look at the same samples.
    """
    failed: dict[str, int] = {}
    for m in sizes:
        for stack in votes(world, m, trial):
            for name, indicator in judge(m, stack).items():
                failed[name] = failed.get(name, 0) + int(indicator.sum())
    return {name: clopper_pearson(k, trial.n, alpha=trial.alpha / len(failed)) for name, k in failed.items()}


def bayes_gap(world: Histogram, more: frozenset[str], fewer: frozenset[str]) -> float:
    """γ(M, N) = r*(M) − r*(N) with frozen encoders, from the law's own table by the least mass of each cell."""
    least = [world.marginal(s).amin(-1).sum() for s in (more, fewer)]
    return float(least[0] - least[1])


def exceeds(left: Tensor, right: Tensor | float) -> Tensor:
    """Whether a bound failed, with room for rounding: equality is not a failure."""
    return left > right + 1e-12 * torch.ones_like(left)
