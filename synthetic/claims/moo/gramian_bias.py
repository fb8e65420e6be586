"""What a Gramian of noisy gradients has too much, and which estimates do not have it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import gramian, unbiased_gramian
from mmtheory.moo.problems import NoisyQuadratics
from mmtheory.stats import Interval, student
from synthetic.worlds import Quad

CHUNK = 2000


@final
@dataclass(frozen=True)
class GramianBias(Claim[Quad]):
    r"""The mean error of the Gramian's diagonal, in units of σ²d/B; its off-diagonal likewise.

    .. math:: E\,\hat J\hat J^\top = G + \frac{\sigma^2 d}{B} I, \qquad E\,J_1 J_2^\top = G, \qquad E\,\frac{R^2\bar J\bar J^\top - \sum_r J_rJ_r^\top}{R(R-1)} = G

    Noise is independent between objectives. Right: 1, 1/R for the mean of R micro-batches of B, 0, 0, and 0 off the diagonal.

    :param believed: ``theory``; ``unbiased`` says 0 everywhere, ``per coordinate`` forgets the factor d.
    """

    noise: float = 1.0
    batch: int = 4
    parts: int = 4
    believed: Literal["theory", "unbiased", "per coordinate"] = "theory"

    def analytic(self, world: Quad) -> Sides:
        unit = {"theory": 1.0, "unbiased": 0.0, "per coordinate": 1 / world.dim}[self.believed]
        right = {"one batch": unit, "mean of micro-batches": unit / self.parts, "two samples": 0.0, "U-statistic": 0.0, "off the diagonal": 0.0}  # fmt: skip
        return {case: Interval.exact(value) for case, value in right.items()}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem = NoisyQuadratics(world.problem.centres, world.problem.hessians, self.noise)
        x = torch.zeros(world.dim, dtype=torch.float64)
        truth = gramian(problem.jacobian(x))
        errors: dict[str, list[Tensor]] = {}
        for k, begin in enumerate(range(0, trial.n, CHUNK)):
            count = min(CHUNK, trial.n - begin)
            noise = trial.stream.child("noise", k).draws()
            rows = problem.noisy_jacobian(x, noise.normal("z", count, self.parts, *problem.centres.shape), self.batch)
            local = gramian(rows)
            pooled = gramian(rows.mean(1))
            found = {
                "one batch": local[:, 0],
                "mean of micro-batches": pooled,
                "two samples": rows[:, 0] @ rows[:, 1].mT,
                "U-statistic": unbiased_gramian(pooled, local.movedim(1, 0)),
            }
            for case, estimate in found.items():
                error = (estimate - truth) / float(problem.plug_in_bias(self.batch))
                errors.setdefault(case, []).append(error.diagonal(dim1=-2, dim2=-1).mean(-1))
                if case == "one batch":
                    errors.setdefault("off the diagonal", []).append(error[:, 0, 1])
        return {case: student(torch.cat(parts), alpha=trial.alpha / len(errors)) for case, parts in errors.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("every estimate is unbiased", replace(self, id=f"{self.id}!unbiased", believed="unbiased"), self.world),
            Control("σ²/B, the dimension forgotten", replace(self, id=f"{self.id}!d", believed="per coordinate"), self.world),
        )  # fmt: skip


GRAMIAN_BIAS: Claim[Any] = GramianBias(
    id="moo/gramian-bias",
    source=Source("moo", "moo.md §6: Gramian bias, two samples, U-statistic", "derived here"),
    statement="The Gramian of noisy gradients is too large by σ²d/B on its diagonal; two samples or the U-statistic take that away.",
    world=Quad(norms=(1.0, 0.5), cosine=-0.3, dim=20),
    budgets={"small": Budget(4000, 16_000), "full": Budget(40_000, 160_000)},
    margin=0.04,
    unit="estimates",
)
