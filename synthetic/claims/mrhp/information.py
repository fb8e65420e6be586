"""R5.3: a contrastive loss never promises more information than there is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.distributions import MultivariateNormal, Normal

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import gaussian_information
from mmtheory.models.contrastive import info_nce
from mmtheory.stats import Interval, Relation, student
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class NceBound(Claim[GaussianRegression]):
    r"""ln K − E L_NCE(K) ≤ min(I(a; b), ln K), at every number of pairs K, even with the best critic ln p(b|a)/p(b).

    With K = 2 the bound is ln 2 however much is shared, with many it comes near the information.
    """

    pairs: tuple[int, ...] = (2, 8, 32)

    def analytic(self, world: GaussianRegression) -> Sides:
        cov = world.law.block("ab")[0]
        known = float(gaussian_information(cov, [0], [1]))
        return {f"K={k}": Interval.exact(min(known, math.log(k)), 1e-9) for k in self.pairs}

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        cov, sides = world.law.block("ab")[0], dict[str, Interval]()
        both = MultivariateNormal(torch.zeros(2, dtype=torch.float64), cov)
        one, other = (Normal(0.0, cov[i, i].sqrt()) for i in range(2))
        for k in self.pairs:
            batches = max(2, trial.n // k)
            batch = world.sample(batches * k, stream=trial.stream.child(k, trial.n))
            a, b = (x.reshape(batches, k) for x in batch.x.values())
            grid = torch.stack(torch.broadcast_tensors(a[:, :, None], b[:, None, :]), -1)
            critic = both.log_prob(grid) - one.log_prob(grid[..., 0]) - other.log_prob(grid[..., 1])
            sides[f"K={k}"] = student(math.log(k) - info_nce(critic), alpha=trial.alpha / len(self.pairs))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "half of it is enough", lambda side: side * 0.5),)


NCE_BOUND: Claim[Any] = NceBound(
    id="R5.3",
    source=Source("mrhp", "contrastive losses as bounds on mutual information", "known"),
    statement="ln K minus the contrastive loss of K pairs is at most the information, and at most ln K.",
    world=GaussianRegression(snr=(30.0, 30.0), dims=(1, 1)),
    budgets={"small": Budget(8_000, 64_000), "full": Budget(64_000, 512_000)},
    relation=Relation.AT_MOST,
)
