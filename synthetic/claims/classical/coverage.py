"""C9.2: classical confidence intervals and PAC-Bayes miss the truth as rarely as they say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.bounds import binary_divergence, pac_bayes
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation, clopper_pearson, dkw, empirical_bernstein, hoeffding
from synthetic.worlds import Histogram


@final
@dataclass(frozen=True)
class Coverage(Claim[Histogram]):
    r"""Each interval of n draws misses with probability at most δ.

    Cases: Clopper–Pearson, Hoeffding and empirical Bernstein for P(y = 1); the uniform band for the law of the first modality; the kl
    PAC-Bayes bound for the coin-valued labelling with the rule of succession in each cell, prior fair coins. Truths are sums over cells.

    :param scale: multiplies every radius; 1 is the theorem, less is a control.
    """

    size: int = 100
    delta: float = 0.05
    scale: float = 1.0

    def analytic(self, world: Histogram) -> Sides:
        names = "clopper-pearson", "hoeffding", "empirical bernstein", "dkw", "pac-bayes"
        return dict.fromkeys(names, Interval.exact(self.delta))

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        n, table = self.size, world.table.flatten(0, -2)
        law = (table / table.sum()).flatten().numpy()
        drawn = trial.stream.child("counts").numpy().multinomial(n, law, size=trial.n)
        counts = torch.from_numpy(drawn).double().unflatten(-1, table.shape)
        ones, truth = counts[..., 1].sum(-1).long(), float(table[:, 1].sum())
        missed = {name: ~inside[ones] for name, inside in self._caught(truth).items()}
        seen = counts.sum(-1).unflatten(-1, world.table.shape[:-1]).flatten(2).sum(-1).cumsum(-1) / n
        real = world.table.flatten(1).sum(-1).cumsum(0)
        missed["dkw"] = (seen - real).abs().amax(-1) > self.scale * dkw(n, alpha=self.delta)
        coin = (counts[..., 1] + 1) / (counts.sum(-1) + 2)
        gibbs = (coin * counts[..., 0] + (1 - coin) * counts[..., 1]).sum(-1) / n
        real_risk = (coin * table[:, 0] + (1 - coin) * table[:, 1]).sum(-1)
        divergence = binary_divergence(coin, torch.full_like(coin, 0.5)).sum(-1)
        upper = pac_bayes(gibbs, divergence, n, self.delta)
        missed["pac-bayes"] = real_risk > gibbs + self.scale * (upper - gibbs)
        alpha = trial.alpha / len(missed)
        return {name: clopper_pearson(int(miss.sum()), trial.n, alpha=alpha) for name, miss in missed.items()}

    def _caught(self, truth: float) -> dict[str, torch.Tensor]:
        """Whether the interval after k successes holds the truth, for every k: a coin's sample is its count."""
        n, found = self.size, dict[str, list[bool]]()
        for k in range(n + 1):
            draws = torch.zeros(n, dtype=torch.float64)
            draws[:k] = 1
            sides = {
                "clopper-pearson": clopper_pearson(k, n, alpha=self.delta),
                "hoeffding": hoeffding(k / n, n, alpha=self.delta),
                "empirical bernstein": empirical_bernstein(draws, alpha=self.delta),
            }
            for name, side in sides.items():
                low, high = (k / n + self.scale * (end - k / n) for end in (side.low, side.high))
                found.setdefault(name, []).append(low - 1e-12 <= truth <= high + 1e-12)
        return {name: torch.tensor(inside) for name, inside in found.items()}

    def controls(self) -> tuple[Control, ...]:
        return tuple(
            Control(f"radii times {c}", replace(self, id=f"C9.2!{c}", scale=c), self.world) for c in (0.5, 0.1, 0.01)
        )


COVERAGE: Claim[Any] = Coverage(
    id="C9.2",
    source=Source("classical", "Clopper–Pearson, Hoeffding, Maurer–Pontil, DKW–Massart, Maurer's PAC-Bayes", "known"),
    statement="Each classical interval of n draws misses its truth with probability at most δ.",
    world=Histogram(),
    budgets={"small": Budget(5000, 80000), "full": Budget(40000, 640000)},
    relation=Relation.AT_MOST,
    margin=0.005,
    unit="samples of 100",
)
