"""C5.1: in late fusion the second modality is learnt 1 + (κ²−1)/(1−ρ²) times later than the first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet

from ._measured import each, logs, ratio_of_delays, students

CASES = {"κ=2 ρ=0": (2.0, 0.0), "κ=2 ρ=.5": (2.0, 0.5), "κ=2 ρ=−.5": (2.0, -0.5), "κ=2 ρ=−.75": (2.0, -0.75), "κ=3 ρ=0": (3.0, 0.0)}  # fmt: skip


def ratio(kappa: float, rho: float) -> float:
    """(5.4), for unit weights."""
    return 1 + (kappa**2 - 1) / (1 - rho**2)


def with_a_norm(kappa: float, rho: float) -> float:
    """What ‖Σ_yB‖ without its sign would give: the same for ρ ≥ −1/κ only."""
    return 1 + (kappa**2 + rho * kappa - abs(1 + rho * kappa)) / (1 - rho**2)


@final
@dataclass(frozen=True)
class LateRatio(Claim[DeepLinear]):
    r"""Two layers, fused late, u₀ → 0: t_B/t_A is (5.4), also where ρ < −1/κ makes B start in the wrong direction.

    .. math:: \frac{t_B}{t_A} \to 1 + \frac{\kappa^2-1}{1-\rho^2}

    Left: logarithm of the ratio of delays between u₀ = 1e-5 and 1e-10, random networks of width 4, gradient flow.
    """

    formula: Callable[[float, float], float] = ratio

    def analytic(self, world: DeepLinear) -> Sides:
        return logs(torch.tensor([self.formula(k, r) for k, r in CASES.values()], dtype=torch.float64), CASES)

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        net = FusionNet(2, 2, 4, (1, 1))
        return students(ratio_of_delays(net, each(CASES), trial.stream, trial.n).log(), CASES, trial.alpha)

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Callable[[float, float], float]] = {
            "no 1 − ρ²": lambda k, _r: k**2,
            "a norm where a sign belongs": with_a_norm,
        }
        return tuple(Control(n, replace(self, id=f"{self.id}!{n}", formula=f), self.world) for n, f in wrong.items())


LATE_RATIO: Claim[Any] = LateRatio(
    id="C5.1",
    source=Source("zhang2024", "time ratio of two-layer late fusion, scalar modalities", "code"),
    statement="Late fusion learns the second modality 1 + (κ²−1)/(1−ρ²) times later than the first, as u₀ → 0.",
    world=DeepLinear(),
    budgets={"small": Budget(6, 24), "full": Budget(32, 128)},
    margin=0.005,
    unit="networks",
)
