"""C5.10: a modality's scale changes when it is learnt, and neither what it is worth nor what least squares makes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianRegression
from synthetic.worlds.fusion_flow import FusionNet
from synthetic.worlds.phase_laws import Moments

from ._measured import ratio_of_delays

SCALES = (1.5, 2.0, 3.0)
Second = Callable[[GaussianRegression], tuple[Tensor, Tensor]]


def second_moments(world: GaussianRegression) -> tuple[Tensor, Tensor]:
    """Covariance of the scalar modalities and their cross-moment with y, from the dials."""
    c, signal = (torch.tensor(v, dtype=torch.float64) for v in (world.scale, world.snr))
    noise = (1 - world.rho) * torch.eye(2, dtype=torch.float64) + world.rho
    a = signal.sqrt()
    return torch.outer(c, c) * (torch.outer(a, a) + noise), c * a


@final
@dataclass(frozen=True)
class SpeedDial(Claim[GaussianRegression]):
    """Scaling modality a by c: Bayes risk and least squares' risk stay, while late fusion's t_B/t_A follows the two-phase law, rising.

    Cases for each c: ``bayes`` (risk of the best linear fit less the known risk at c = 1), ``fit`` (risk of least squares on 20
    samples less that at c = 1, same draws), ``ratio`` (logarithm of measured t_B/t_A).
    """

    power: float = 1.0

    def analytic(self, world: GaussianRegression) -> Sides:
        sides: dict[str, Interval] = {}
        for c in SCALES:
            covariance, cross = second_moments(_scaled(world, c**self.power))
            law = Moments(covariance, cross, (1, 1)).late_ratio()
            sides[f"bayes c={c:g}"] = world.known("bayes_risk", world.modalities)
            sides[f"fit c={c:g}"] = Interval.exact(0.0, 1e-10)
            sides[f"ratio c={c:g}"] = Interval.exact(float(law.log()), 1e-10)
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        base = _least_squares(world, trial)
        populations = [second_moments(_scaled(world, c)) for c in SCALES]
        moments = Moments(torch.stack([p[0] for p in populations]), torch.stack([p[1] for p in populations]), (1, 1))
        ratios = ratio_of_delays(FusionNet(2, 2, 4, (1, 1)), moments, trial.stream, trial.n).log()
        best = 1 + world.label_noise - (moments.together() * moments.cross).sum(-1)
        sides: dict[str, Interval] = {}
        for i, c in enumerate(SCALES):
            moved = (_least_squares(_scaled(world, c), trial) - base).abs().max()
            sides[f"bayes c={c:g}"] = Interval.exact(float(best[i]), 1e-12)
            sides[f"fit c={c:g}"] = Interval.exact(float(moved), 1e-12)
            sides[f"ratio c={c:g}"] = student(ratios[i], alpha=trial.alpha / len(SCALES))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("the scale does nothing", replace(self, id=f"{self.id}!none", power=0.0), self.world),
            Control("the scale acts squared", replace(self, id=f"{self.id}!squared", power=2.0), self.world),
        )


def _scaled(world: GaussianRegression, c: float) -> GaussianRegression:
    """The world with modality a turned up."""
    return replace(world, scale=(c * world.scale[0], *world.scale[1:]))


def _least_squares(world: GaussianRegression, trial: Trial) -> Tensor:
    """Mean squared error of each replicate's fit on fresh samples."""
    batch = world.sample(20, stream=trial.stream, replicates=range(trial.n))
    fresh = world.sample(64, stream=trial.stream.child("fresh"), replicates=range(trial.n))
    fit = torch.linalg.lstsq(batch.stacked(), batch.y[..., None]).solution
    return ((fresh.y - (fresh.stacked() @ fit)[..., 0]) ** 2).mean(-1)


SPEED_DIAL: Claim[Any] = SpeedDial(
    id="C5.10",
    source=Source("zhang2024", "the speed dial apart from the information dial", "derived here"),
    statement="A modality's scale changes t_B/t_A by the two-phase law and leaves Bayes risk and least squares as they are.",
    world=GaussianRegression(snr=(1.0, 1.0), dims=(1, 1), scale=(1.0, 1.0), label_noise=0.1),
    budgets={"small": Budget(6, 24), "full": Budget(32, 128)},
    margin=0.005,
    unit="networks",
)
