"""C5.8: uncorrelated modalities do not compete at all; correlated ones slow each other down, or speed each other up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, descend, flow
from synthetic.worlds.phase_laws import Moments, scalar_moments

from ._measured import each, random_passages, students, wide

CASES = {"ρ=0": (2.0, 0.0), "ρ=.5": (2.0, 0.5), "ρ=−.25": (2.0, -0.25)}
IDENTITY = 1e-6
SIZES = (1e-8, 1e-4)


def factor(kappa: float, rho: float) -> float:
    """t_B beside A over t_B alone, late fusion, unit weights."""
    return (1 + (kappa**2 - 1) / (1 - rho**2)) * (1 + rho * kappa) / (kappa**2 + rho * kappa)


def without_first(moments: Moments) -> Moments:
    """The population in which A is switched off."""
    on = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return Moments(moments.covariance * torch.outer(on, on), moments.cross * on, (1, 1))


@final
@dataclass(frozen=True)
class Competition(Claim[DeepLinear]):
    r"""Two layers, late: A's presence multiplies B's time by the factor below; at ρ = 0 B's whole trajectory is unchanged.

    .. math:: \Big[1 + \frac{\kappa^2-1}{1-\rho^2}\Big]\frac{1+\rho\kappa}{\kappa^2+\rho\kappa}

    The case ``trajectory`` is the largest difference between W_B with and without A over 300 steps of gradient descent, in units of
    1e-6, so that the margin asks for 5e-9.
    """

    formula: Callable[[float, float], float] = factor
    rho: float = 0.0

    def analytic(self, world: DeepLinear) -> Sides:
        sides = {case: Interval.exact(self.formula(*dials), 1e-12) for case, dials in CASES.items()}
        return {**sides, "trajectory": Interval.exact(0.0)}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        net, moments = FusionNet(2, 2, 4, (1, 1)), each(CASES)
        beside = random_passages(net, moments, SIZES, trial.stream, trial.n).times[..., 1]
        scale, unit = torch.tensor(SIZES, dtype=torch.float64), net.random(1.0, trial.stream.draws(range(trial.n)))
        alone = _alone(net, moments, (scale[:, None, None, None] * unit).expand(2, len(CASES), trial.n, -1))
        times = (beside[0] - beside[1]) / (alone[0] - alone[1])
        pair = scalar_moments(2.0, self.rho)
        paths = [
            descend(net, m, 1e-2 * unit[0], rate=0.05, steps=300, every=5)[..., 1] for m in (pair, without_first(pair))
        ]
        gap = float((paths[0] - paths[1]).abs().max()) / IDENTITY
        return {**students(times, CASES, trial.alpha), "trajectory": Interval.exact(gap)}

    def controls(self) -> tuple[Control, ...]:
        wrong = {
            "ρ of the other sign": replace(self, id=f"{self.id}!sign", formula=lambda k, r: factor(k, -r)),
            "trajectory at ρ = 0.001": replace(self, id=f"{self.id}!rho", rho=1e-3),
        }
        return tuple(Control(name, claim, self.world) for name, claim in wrong.items())


def _alone(net: FusionNet, moments: Moments, start: torch.Tensor) -> torch.Tensor:
    """B's passage times with A switched off, from the same starts, to half of its own fit."""
    half = moments.alone(1)[..., 0] / 2
    marks = torch.stack([torch.full_like(half, torch.inf), half], -1)
    return flow(net, wide(without_first(moments)), start, marks=marks[:, None], tolerance=1e-5).times[..., 1]


COMPETITION: Claim[Any] = Competition(
    id="C5.8",
    source=Source("zhang2024", "no-competition null and slow-down factor", "derived here"),
    statement="The first modality multiplies the second one's time by the slow-down factor, which is 1 at ρ = 0.",
    world=DeepLinear(),
    budgets={"small": Budget(6, 24), "full": Budget(32, 128)},
    margin=0.005,
    unit="networks",
)
