"""C2.2: the log-odds of the Gaussian selection world is a sum of two intra terms and one inter term, and is calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.worlds import SelectionGaussian


@final
@dataclass(frozen=True)
class LogOddsTerms(Claim[SelectionGaussian]):
    r"""The three terms against the ratio of the two classes' densities, at points of a fixed grid.

    .. math:: \ln\frac{p(+|a,b)}{p(-|a,b)} = c + 2\kappa_1\mu^\top a + 2\kappa_2\nu^\top b + 2\lambda a^\top Rb

    The ratio is taken from the law's parameters (Λ and h of each class), with the selection probability of each class integrated out; it
    knows nothing of the terms. ``used`` are the terms that the analytic side adds up.
    """

    used: tuple[str, ...] = ("a", "b", "inter")

    def analytic(self, world: SelectionGaussian) -> Sides:
        terms = world.terms(_probes(world))
        total = sum((terms[e] for e in self.used), torch.tensor(world.offset, dtype=torch.float64))
        return {f"point {i}": Interval.exact(float(v)) for i, v in enumerate(total)}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        point = torch.cat(list(_probes(world).values()), -1)
        mu, nu = world.directions
        density: list[Tensor] = []
        for sign in (1, -1):
            precision = world.precision(sign)
            shift = sign * torch.cat([world.kappa[0] * mu, world.kappa[1] * nu])
            law = MultivariateNormal(torch.linalg.solve(precision, shift), precision_matrix=precision)
            density.append(law.log_prob(point))
        return {f"point {i}": Interval.exact(float(v)) for i, v in enumerate(density[0] - density[1])}

    def controls(self) -> tuple[Control, ...]:
        bare = replace(
            self, id=f"{self.id}!additive", statement=f"control (no interaction): {self.statement}", used=("a", "b")
        )
        lone = replace(
            self, id=f"{self.id}!inter", statement=f"control (interaction alone): {self.statement}", used=("inter",)
        )
        return (Control("no inter term", bare, self.world), Control("no intra terms", lone, self.world))


@final
@dataclass(frozen=True)
class Calibration(Claim[SelectionGaussian]):
    """Within each band of the stated log-odds, the labels' mean is the mean of its sigmoid: E[(1[+] − σ(L))·1[L in band]] = 0."""

    bands: tuple[float, ...] = (-3.0, -1.0, 0.0, 1.0, 3.0)

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {f"band {i}": Interval.exact(0.0) for i in range(len(self.bands) + 1)}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        batch = world.sample(trial.n, stream=trial.stream.child("sample", trial.n), device=trial.device)
        terms = world.terms(batch.x)
        stated = terms["a"] + terms["b"] + terms["inter"] + world.offset
        band = torch.bucketize(stated, torch.tensor(self.bands, dtype=torch.float64, device=stated.device))
        surprise = batch.y - torch.sigmoid(stated)
        alpha = trial.alpha / (len(self.bands) + 1)
        return {f"band {i}": student(surprise * (band == i), alpha=alpha) for i in range(len(self.bands) + 1)}

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "over-confident by two points in every band", lambda side: side + 0.02),)


def _probes(world: SelectionGaussian) -> dict[str, Tensor]:
    """Eight fixed points, none of them special to the world's directions."""
    steps = torch.arange(8 * 2 * world.dim, dtype=torch.float64).reshape(8, 2, world.dim)
    points = 2 * torch.sin(1 + 1.7 * steps)
    return {"a": points[:, 0], "b": points[:, 1]}


LOG_ODDS: Claim[Any] = LogOddsTerms(
    id="C2.2",
    source=Source("madaan2024", "the factorised posterior, in our Gaussian family", "derived here"),
    statement="After selection the log-odds is a constant, one linear term a modality and a bilinear term.",
    world=SelectionGaussian(alignment=0.3),
    budgets={"small": Budget(8, 8), "full": Budget(8, 8)},
    margin=1e-8,
    unit="points",
)

CALIBRATION: Claim[Any] = Calibration(
    id="C2.2b",
    source=Source("madaan2024", "the factorised posterior, in our Gaussian family", "derived here"),
    statement="The three-term log-odds is calibrated on selected data.",
    world=SelectionGaussian(alignment=0.3),
    budgets={"small": Budget(100_000, 400_000), "full": Budget(400_000, 1_600_000)},
    margin=0.005,
)
