"""C5.6: the modality learnt first is not the one that explains more exactly when κ⁻² < w_a/w_b < κ⁻¹."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, flow
from synthetic.worlds.phase_laws import Moments, scalar_moments

KAPPAS = (1.5, 2.0, 3.0)
EDGES = ((2.0, 0.5), (2.0, 0.95), (2.0, 1.05), (1.0, 0.95), (1.0, 1.05), (1.0, 2.0))
GRID = tuple((kappa, round(factor * kappa**-power, 6)) for kappa in KAPPAS for power, factor in EDGES)


@final
@dataclass(frozen=True)
class SuperficialPreference(Claim[DeepLinear]):
    r"""Late fusion, ρ = 0, on a grid of (κ, w_a/w_b) that comes within 5 % of both edges of the band.

    Left: 1 where the modality whose map first reaches half of its fit alone is not the one that alone removes more loss, both seen in
    gradient flow from u₀ = 1e-20; right: 1 in the band.
    """

    lower: float = 2.0

    def analytic(self, world: DeepLinear) -> Sides:
        return {_case(k, r): Interval.exact(float(k**-self.lower < r < 1 / k)) for k, r in GRID}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        kappa, ratio = torch.tensor(GRID, dtype=torch.float64).T
        moments = scalar_moments(kappa, 0.0, (ratio, 1.0))
        net = FusionNet(2, 2, 1, (1, 1))
        start = net.aligned(1e-20, moments)
        fits = moments.cross / torch.diagonal(moments.covariance, dim1=-2, dim2=-1)
        times = flow(net, moments, start, marks=fits / 2, tolerance=1e-4).times
        drops = torch.stack([self._removed(net, moments, m) for m in (0, 1)], -1)
        mismatch = (times[:, 0] < times[:, 1]) != (drops[:, 0] > drops[:, 1])
        return {_case(k, r): Interval.exact(float(v)) for (k, r), v in zip(GRID, mismatch.tolist(), strict=True)}

    @staticmethod
    def _removed(net: FusionNet, moments: Moments, m: int) -> torch.Tensor:
        """Loss removed by training with the other modality switched off."""
        off = torch.eye(2, dtype=torch.float64)[m]
        here = Moments(moments.covariance * torch.outer(off, off), moments.cross * off, (1, 1))
        settled = flow(net, here, net.aligned(1e-2, moments), until=25.0, tolerance=1e-4).state
        w = net.maps(settled) * off
        return (here.cross * w).sum(-1) - ((w[..., None, :] @ here.covariance)[..., 0, :] * w).sum(-1) / 2

    def controls(self) -> tuple[Control, ...]:
        wrong = replace(self, id=f"{self.id}!band", lower=1.75)
        return (Control("band from κ^-1.75", wrong, self.world),)


def _case(kappa: float, ratio: float) -> str:
    """The grid point's name."""
    return f"κ={kappa:g} w={ratio:g}"


SUPERFICIAL_PREFERENCE: Claim[Any] = SuperficialPreference(
    id="C5.6",
    source=Source("zhang2024", "superficial modality preference", "code"),
    statement="The first-learnt modality contributes less exactly for κ⁻² < w_a/w_b < κ⁻¹ (ρ = 0).",
    world=DeepLinear(),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-8,
    unit="grids",
)
