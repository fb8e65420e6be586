"""C7.7: a target that adds two independent latents is not pure synergy: half a bit of it is redundant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import pid
from mmtheory.stats import student
from synthetic.worlds import LatentRegression


@final
@dataclass(frozen=True)
class AdditiveSuite(Claim[LatentRegression]):
    r"""For y = z₁ + z₂ with one latent a modality, each modality knows half a bit and neither anything of its own.

    .. math:: R = \tfrac12 \log_2 2 = \tfrac12\ \text{bit}, \qquad U_1 = U_2 = 0

    The paper's Gaussian suite calls such a setting synergy; pure synergy needs a product or a parity. The empirical side cuts samples into
    ``bins`` quantiles in every variable, counts, and solves.

    :param size: samples of one estimate.
    :param bins: quantile cells of each variable; fewer lose more information.
    """

    size: int = 50_000
    bins: int = 10

    def broken_assumptions(self, world: LatentRegression) -> tuple[str, ...]:
        scalar = len(world.loadings) == 2 and all(len(block) == 1 for block in world.loadings)
        return () if scalar else ("needs two scalar modalities",)

    def analytic(self, world: LatentRegression) -> Sides:
        both = world.modalities
        return {
            "R": world.known("redundancy", both),
            "U1": world.known("unique", both[:1]),
            "U2": world.known("unique", both[1:]),
        }

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        batch = world.sample(self.size, stream=trial.stream, replicates=range(trial.n), device=trial.device)
        columns = [*(x[..., 0] for x in batch.x.values()), batch.y]
        cell = torch.zeros(batch.y.shape, dtype=torch.int64, device=batch.y.device)
        for column in columns:
            cell = cell * self.bins + _cut(column, self.bins)
        count = torch.zeros(trial.n, self.bins**3, dtype=torch.float64, device=cell.device)
        count.scatter_add_(1, cell, torch.ones_like(cell, dtype=torch.float64))
        found = pid((count / self.size).reshape(-1, self.bins, self.bins, self.bins).cpu())
        atoms = {"R": found.redundancy, "U1": found.unique_first, "U2": found.unique_second}
        return {case: student(value, alpha=trial.alpha / 3) for case, value in atoms.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "pure synergy, no redundancy", lambda side: side * 0.0),
            misstated(self, "redundancy in bits", lambda side: side * (1 / math.log(2))),
        )


def _cut(values: Tensor, bins: int) -> Tensor:
    """The quantile cell of each number among its own replicate's."""
    ranks = values.argsort(-1).argsort(-1)
    return ranks * bins // values.shape[-1]


ADDITIVE_SUITE: Claim[Any] = AdditiveSuite(
    id="C7.7",
    source=Source("liang2023", "the Gaussian suite's synergy setting", "derived here"),
    statement="A target that adds two independent latents, one a modality, has half a bit of redundancy.",
    world=LatentRegression(
        loadings=(((1.0, 0.0),), ((0.0, 1.0),)), weights=(1.0, 1.0), noise=((1e-6, 0.0), (0.0, 1e-6)), label_noise=0.0
    ),
    budgets={"small": Budget(10, 20), "full": Budget(16, 128)},
    margin=0.06,
    unit="estimates",
)
