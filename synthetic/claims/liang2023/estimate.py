"""C7.4: clustering, counting and solving recovers the decomposition of a Gaussian world within discretisation error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import pid
from mmtheory.stats import student
from synthetic.worlds import GaussianDiscriminant

ATOMS = ("R", "U1", "U2", "S")
_ROUNDS = 12


@final
@dataclass(frozen=True)
class Estimate(Claim[GaussianDiscriminant]):
    """k-means in each modality, an empirical table, and the solver: the mean estimate of each atom is close to the closed form.

    :param size: samples of one estimate.
    :param clusters: k of each modality; more clusters cut finer and are biased more by counting.
    """

    size: int = 4000
    clusters: int = 6

    def broken_assumptions(self, world: GaussianDiscriminant) -> tuple[str, ...]:
        fits = world.classes == 2 and len(world.d2) == 2 and all(width == 1 for width in world.widths.values())
        return () if fits else ("needs two scalar modalities and two classes",)

    def analytic(self, world: GaussianDiscriminant) -> Sides:
        both = world.modalities
        return {
            "R": world.known("redundancy", both),
            "U1": world.known("unique", both[:1]),
            "U2": world.known("unique", both[1:]),
            "S": world.known("synergy", both),
        }

    def empirical(self, world: GaussianDiscriminant, trial: Trial) -> Sides:
        batch = world.sample(self.size, stream=trial.stream, replicates=range(trial.n), device=trial.device)
        parts = [_clustered(x[..., 0], self.clusters) for x in batch.x.values()]
        cell = (parts[0] * self.clusters + parts[1]) * 2 + batch.y.long()
        count = torch.zeros(trial.n, self.clusters**2 * 2, dtype=torch.float64, device=cell.device)
        count.scatter_add_(1, cell, torch.ones_like(cell, dtype=torch.float64))
        found = pid((count / self.size).reshape(-1, self.clusters, self.clusters, 2).cpu())
        atoms = found.atoms() + torch.stack([-found.gap, found.gap, found.gap, -found.gap], -1) / 2
        return {atom: student(atoms[:, k], alpha=trial.alpha / 4) for k, atom in enumerate(ATOMS)}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "a tenth of a bit more", lambda side: side + 0.1 * math.log(2)),
            misstated(self, "information in bits", lambda side: side * (1 / math.log(2))),
        )


def _clustered(values: Tensor, k: int) -> Tensor:
    """Lloyd's k-means of numbers, begun at quantiles: the cluster of each, [*batch_shape, n]."""
    levels = (torch.arange(k, dtype=torch.float64, device=values.device) + 0.5) / k
    centres = torch.quantile(values, levels, dim=-1).movedim(0, -1).contiguous()
    index = torch.zeros_like(values, dtype=torch.int64)
    for _ in range(_ROUNDS):
        index = torch.searchsorted(((centres[..., 1:] + centres[..., :-1]) / 2).contiguous(), values.contiguous())
        total = torch.zeros_like(centres).scatter_add_(-1, index, values)
        count = torch.zeros_like(centres).scatter_add_(-1, index, torch.ones_like(values))
        centres = torch.where(count > 0, total / count.clamp(min=1), centres)
    return index


ESTIMATE: Claim[Any] = Estimate(
    id="C7.4",
    source=Source("liang2023", "the clustering estimator on Gaussian data", "code"),
    statement="Clustering, counting and solving recovers R, U and S of two Gaussian views within a twentieth of a bit.",
    world=GaussianDiscriminant(d2=(1.0, 0.36), rho=0.0),
    budgets={"small": Budget(16, 64), "full": Budget(64, 512)},
    margin=0.05 * math.log(2),
    unit="estimates",
)
