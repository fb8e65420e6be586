"""C7.7: a target that adds two independent latents is not pure synergy: half a bit of it is redundant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import pid
from mmtheory.stats import Interval
from synthetic.worlds import LatentRegression

_FINE = 12


@final
@dataclass(frozen=True)
class AdditiveSuite(Claim[LatentRegression]):
    r"""For y = z₁ + z₂ with one latent a modality, each modality knows half a bit and neither anything of its own.

    .. math:: R = \tfrac12 \log_2 2 = \tfrac12\ \text{bit}, \qquad U_1 = U_2 = 0

    The paper's Gaussian suite calls such a setting synergy; pure synergy needs a product or a parity. The empirical side cuts every variable
    into cells of equal mass, finds the cells' probabilities by quadrature over the inputs, and solves the table.

    :param bins: cells of each variable; what cutting loses falls as 1/bins.
    """

    bins: int = 16

    def broken_assumptions(self, world: LatentRegression) -> tuple[str, ...]:
        scalar = len(world.loadings) == 2 and all(len(block) == 1 for block in world.loadings)
        if not scalar:
            return ("needs two scalar modalities",)
        return () if abs(float(_covariance(world)[0, 1])) < 1e-12 else ("needs independent modalities",)

    def analytic(self, world: LatentRegression) -> Sides:
        both = world.modalities
        return {
            "R": world.known("redundancy", both),
            "U1": world.known("unique", both[:1]),
            "U2": world.known("unique", both[1:]),
        }

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        found = pid(_cells(_covariance(world), self.bins))
        atoms = {"R": found.redundancy, "U1": found.unique_first, "U2": found.unique_second}
        return {case: Interval.exact(float(value), float(found.gap)) for case, value in atoms.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "pure synergy, no redundancy", lambda side: side * 0.0),
            misstated(self, "redundancy in bits", lambda side: side * (1 / math.log(2))),
        )


def _covariance(world: LatentRegression) -> Tensor:
    """Of (x1, x2, y), from the dials alone."""
    loading = torch.tensor([row for block in world.loadings for row in block], dtype=torch.float64)
    noise = torch.tensor(world.noise, dtype=torch.float64) if world.noise else torch.eye(2, dtype=torch.float64)
    target = torch.tensor(world.weights, dtype=torch.float64)
    cross = loading @ target
    inputs = loading @ loading.mT + noise
    label = target @ target + world.label_noise
    return torch.cat([torch.cat([inputs, cross[:, None]], 1), torch.cat([cross, label[None]])[None]])


def _cells(cov: Tensor, bins: int) -> Tensor:
    """Probabilities of cells of equal mass of independent x1, x2 and of y, [x1, x2, y]: a midpoint rule in the mass of x1 and x2."""
    fine = bins * _FINE
    z = torch.special.ndtri((torch.arange(fine, dtype=torch.float64) + 0.5) / fine)
    slope = cov[2, :2] / cov.diagonal()[:2].sqrt()
    mean = slope[0] * z[:, None] + slope[1] * z
    left = (cov[2, 2] - slope.square().sum()).sqrt()
    edges = cov[2, 2].sqrt() * torch.special.ndtri(torch.arange(bins + 1, dtype=torch.float64) / bins)
    mass = torch.special.ndtr((edges - mean[..., None]) / left).diff(dim=-1)
    return mass.reshape(bins, _FINE, bins, _FINE, bins).mean((1, 3)) / bins**2


ADDITIVE_SUITE: Claim[Any] = AdditiveSuite(
    id="C7.7",
    source=Source("liang2023", "the Gaussian suite's synergy setting", "derived here"),
    statement="A target that adds two independent latents, one a modality, has half a bit of redundancy.",
    world=LatentRegression(
        loadings=(((1.0, 0.0),), ((0.0, 1.0),)), weights=(1.0, 1.0), noise=((1e-6, 0.0), (0.0, 1e-6)), label_noise=0.0
    ),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=0.025,
    unit="solves",
)
