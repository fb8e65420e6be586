"""R2.3: adapters that are trained from B = 0, as the method trains them, end on the closed-form curve, whose knee is at the shared rank."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import reduced_rank_risks, unimodal_regressors
from mmtheory.models import LowRank
from mmtheory.stats import Interval
from synthetic.worlds import LatentRegression

from .adapters import OUTPUTS, summed, task, views

RANKS, SHARED = (1, 2, 4), 2
"""Ranks that are trained, and the rank of the modalities' cross-covariance."""


@final
@dataclass(frozen=True)
class Trained(Claim[LatentRegression]):
    r"""What gradient descent on B and A leaves over, and how much the ranks past the cross-covariance's still gain.

    An adapter on a's input alone aims at

    .. math:: \big((A - W)_a + (A - W)_b\,\Sigma_{ba}\Sigma_{aa}^{-1}\big) x_a, \qquad
        (A - W)_a = -A_b \Sigma_{ba}\Sigma_{aa}^{-1}

    a map of rank at most rank Σ_ba: from there on its curve is flat. One on both inputs may need twice that rank. Left: quasi-Newton
    descent on the population risk from a random A and B = 0, the worst of the starts; the gain as a difference of two such trainings.

    :param late: how many ranks later than it is the curve is said to fall.
    """

    steps: int = 300
    late: int = 0

    def analytic(self, world: LatentRegression) -> Sides:
        maps, cov, widths = task(world)
        residual = maps - unimodal_regressors(maps, cov, widths)
        curves = {"both": reduced_rank_risks(residual, cov), "a": reduced_rank_risks(residual, cov, range(widths[0]))}
        sides = {
            f"{case}, r={r}": Interval.exact(float(curve[max(r - self.late, 0)]), 1e-9)
            for case, curve in curves.items()
            for r in RANKS
        }
        return {**sides, "a, gain past the shared rank": Interval.exact(0.0)}

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        maps, cov, widths = task(world)
        residual, whole = maps - summed(maps, cov, widths), sum(widths)
        sides: dict[str, Interval] = {}
        left: dict[tuple[str, int], float] = {}
        for case, d in (("both", whole), ("a", widths[0])):
            for r in RANKS:
                draws = trial.stream.child(case, r).draws(range(trial.n))
                adapter = LowRank(d, OUTPUTS, r, draws=draws, name="w", dtype=torch.float64)
                left[case, r] = float(_descended(adapter, residual, cov, self.steps).max())
                sides[f"{case}, r={r}"] = Interval.exact(left[case, r], 1e-9)
        gain = left["a", SHARED] - left["a", max(RANKS)]
        return {**sides, "a, gain past the shared rank": Interval.exact(gain, 1e-9)}

    def controls(self) -> tuple[Control, ...]:
        late = replace(self, id=f"{self.id}!late", late=1)
        return (Control("each rank does what the one before does", late, self.world),)


def _descended(adapter: LowRank, residual: Tensor, cov: Tensor, steps: int) -> Tensor:
    """The population risk of each start after training, [starts]."""
    optimiser = torch.optim.LBFGS(
        list(adapter.parameters()), max_iter=steps, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )  # fmt: skip

    def risk() -> Tensor:
        update = adapter.update().mT
        gap = residual - torch.nn.functional.pad(update, (0, residual.shape[-1] - update.shape[-1]))
        return ((gap @ cov) * gap).sum((-2, -1))

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = risk().sum()
        total.backward()
        return total

    optimiser.step(closure)
    with torch.no_grad():
        return risk()


TRAINED: Claim[Any] = Trained(
    id="R2.3",
    source=Source("mmlora", "adapters as they are trained, linear case", "derived here"),
    statement="Trained adapters reach the reduced-rank curve to 1e-3, and one modality's curve is flat past the rank of the cross-covariance.",
    world=views(1.0),
    budgets={"small": Budget(2, 2), "full": Budget(16, 16)},
    margin=1e-3,
    unit="random starts",
)
