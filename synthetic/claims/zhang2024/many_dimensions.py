"""C5.2: the time ratio of late fusion in many dimensions, over random covariances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet
from synthetic.worlds.phase_laws import Moments

from ._measured import ratio_of_delays

DIMS = (10, 10)


@final
@dataclass(frozen=True)
class ManyDimensions(Claim[DeepLinear]):
    r"""Over random inverse-Wishart covariances the measured t_B/t_A lies on the identity line of (5.1).

    .. math:: \frac{t_B}{t_A} \to 1 + \frac{\|\Sigma_{yA}\| - \|\Sigma_{yB}\|}{\|\tilde\Sigma_{yB}\|}

    Cases: the slope of measured on predicted ratios through the origin is 1, and the unexplained share of their variance is 0.
    """

    formula: Callable[[Moments], Tensor] = Moments.late_ratio

    def analytic(self, world: DeepLinear) -> Sides:
        return {"slope": Interval.exact(1.0), "unexplained variance": Interval.exact(0.0)}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        moments = populations(trial.stream, trial.n)
        measured = ratio_of_delays(FusionNet(2, 2, 1, DIMS), moments, trial.stream.child("start"), 1)[..., 0]
        predicted = self.formula(moments)
        slope = float((measured * predicted).sum() / (predicted**2).sum())
        rest = float(((measured - predicted) ** 2).sum() / ((measured - measured.mean()) ** 2).sum())
        return {"slope": Interval.exact(slope, 1e-4), "unexplained variance": Interval.exact(rest, 1e-4)}

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Callable[[Moments], Tensor]] = {
            "B's own moment for its remainder": lambda m: m.target(0).norm(dim=-1) / m.target(1).norm(dim=-1),
            "no head start": lambda m: 1 + m.target(0).norm(dim=-1) / m.left_over().norm(dim=-1),
        }
        return tuple(Control(n, replace(self, id=f"{self.id}!{n}", formula=f), self.world) for n, f in wrong.items())


def populations(stream: Stream, count: int) -> Moments:
    """Inverse-Wishart covariances with 3d degrees of freedom, unit weights of random sign, the stronger modality first."""
    d = sum(DIMS)
    draws = stream.child("populations").draws(range(count))
    factor = draws.normal("factor", 3 * d, d) / (3 * d) ** 0.5
    covariance = torch.linalg.inv(factor.mT @ factor)
    weights = draws.normal("weights", d) / DIMS[0] ** 0.5
    here = Moments(covariance, (covariance @ weights[..., None])[..., 0], DIMS)
    back = here.swapped()
    pick = here.first()
    return Moments(
        torch.where(pick[..., None, None], here.covariance, back.covariance),
        torch.where(pick[..., None], here.cross, back.cross),
        DIMS,
    )


MANY_DIMENSIONS: Claim[Any] = ManyDimensions(
    id="C5.2",
    source=Source("zhang2024", "time ratio in many dimensions, inverse-Wishart check", "code"),
    statement="For random covariances in 10 + 10 dimensions the measured t_B/t_A is 1 + (‖Σ_yA‖−‖Σ_yB‖)/‖Σ̃_yB‖.",
    world=DeepLinear(),
    budgets={"small": Budget(50, 50), "full": Budget(400, 400)},
    margin=0.02,
    unit="populations",
)
