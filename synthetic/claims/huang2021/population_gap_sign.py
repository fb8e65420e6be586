"""C1.7: more modalities have the better latent quality, in the population always and in a sample ever more surely."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import gaussian_conditional
from mmtheory.stats import Interval, Relation, clopper_pearson
from synthetic.claims._fits import data_sets, fit
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class PopulationGapSign(Claim[GaussianRegression]):
    r"""γ(M, N) = Var(y|x_M) − Var(y|x_N) ≤ 0 for M ⊃ N, and P(γ_S ≤ 0) → 1 for the representations that samples give.

    The learnt representation is the one-dimensional ŵ_Mᵀx of least squares; its quality η allows the best head on it, in the
    population: :math:`\eta(\hat w) = \mathrm{Var}(E[y|x]) - (\hat w^\top\Sigma_{xy})^2/\hat w^\top\Sigma\hat w`. Cases: the population
    gap; P(γ_S ≤ 0) rises along the sizes; it is at least 0.99 at the largest.

    :param fewer: N.
    :param more: M.
    :param sizes: sample sizes, the last one "large".
    """

    fewer: tuple[str, ...] = ("a",)
    more: tuple[str, ...] = ("a", "b")
    sizes: tuple[int, ...] = (16, 40, 100, 300)
    wanted: float = 0.99

    def _rises(self) -> list[tuple[int, int]]:
        """Neighbouring sizes before the large one, where the curve is still steep."""
        return list(pairwise(self.sizes[:-1]))

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        missing = set(self.more) - set(world.modalities)
        return (f"the claim compares {self.more}, the world has {world.modalities}",) if missing else ()

    def analytic(self, world: GaussianRegression) -> Sides:
        rises = {f"P(γ ≤ 0) rises from n={k} to n={n}": Interval.exact(0.0) for k, n in self._rises()}
        gain = world.known("bayes_risk", self.fewer) - world.known("bayes_risk", self.more)
        return {
            "−γ of the population": gain.clipped(0.0, gain.high) if gain.high > 0 else Interval.exact(0.0),
            **rises,
            f"P(γ ≤ 0) at n={self.sizes[-1]}": Interval.exact(self.wanted),
        }

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        law, alpha = world.law, trial.alpha / (2 * len(self._rises()) + 1)
        rate = {n: clopper_pearson(self._successes(world, n, trial), trial.n, alpha=alpha) for n in self.sizes}
        left = {s: float(gaussian_conditional(law.joint, [-1], law.columns(s))) for s in (self.fewer, self.more)}
        return {
            "−γ of the population": Interval.exact(left[self.fewer] - left[self.more], 1e-12),
            **{f"P(γ ≤ 0) rises from n={k} to n={n}": rate[n] - rate[k] for k, n in self._rises()},
            f"P(γ ≤ 0) at n={self.sizes[-1]}": rate[self.sizes[-1]],
        }

    def _successes(self, world: GaussianRegression, n: int, trial: Trial) -> int:
        """How many of the samples of size n gave the larger set the better representation."""
        won = 0
        for batch in data_sets(world, n, sum(world.dims), trial):
            explained = list[torch.Tensor]()
            for given in (self.more, self.fewer):
                cov, cross = world.law.block(given)
                w = fit(batch, given)
                explained.append((w @ cross) ** 2 / ((w @ cov) * w).sum(-1))
            won += int((explained[0] >= explained[1]).sum())
        return won

    def controls(self) -> tuple[Control, ...]:
        few = replace(self, budgets={"small": Budget(300, 4800), "full": Budget(1200, 9600)})
        swapped = replace(few, id="C1.7!swapped", fewer=self.more, more=self.fewer)
        blind = replace(self.world, snr=(self.world.snr[0], 0.0))
        return (
            Control("the larger and the smaller set exchanged", swapped, self.world),
            Control("a second modality that knows nothing", replace(few, id="C1.7!blind"), blind),
        )


POPULATION_GAP_SIGN: Claim[Any] = PopulationGapSign(
    id="C1.7",
    source=Source("huang2021", "non-positivity of γ in the composite linear case", "recalled"),
    statement="The population γ(M, N) is Var(y|x_M) − Var(y|x_N) ≤ 0 for M ⊃ N, and P(γ_S ≤ 0) rises to 1 with the sample.",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(2, 10)),
    budgets={"small": Budget(1850, 7400), "full": Budget(16000, 32000)},
    relation=Relation.AT_LEAST,
    margin=1e-9,
    unit="fits",
)
