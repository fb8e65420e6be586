"""R4.3: how wide codes stay: collapsed without the variance hinge, and with it only as wide as agreement allows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.models.consistency import FLOOR, umurl_loss
from mmtheory.stats import Interval, student
from synthetic.claims._fits import data_sets
from synthetic.worlds import LatentRegression

HINGE = 5.0


@final
@dataclass(frozen=True)
class Spread(Claim[LatentRegression]):
    r"""Codes c·x_m of M views of variance one, with fused codes that agree with them, are least at the spread

    .. math:: \sqrt{c^2 + 10^{-4}} = \min\Big(1, \frac{vM}{a\,e}\Big), \qquad e = \sum_m E(x_m - \bar x)^2 = (M-1)(1-\rho)

    a and v the weights of agreement and of the variance hinge; v = 0 is collapse. So the hinge forbids collapse for every a, and does
    not hold the spread at one beyond a = vM/e. Left: golden sections on the loss of samples of ``size``, each standardised.

    :param always: whether the analytic side believes that the hinge holds the spread at one.
    """

    weights: tuple[tuple[float, float], ...] = ((5.0, HINGE), (30.0, HINGE), (120.0, HINGE), (5.0, 0.0))
    size: int = 400
    always: bool = False

    def analytic(self, world: LatentRegression) -> Sides:
        count = len(world.modalities)
        cov = world.law.covariance
        rho = float(cov[0, 1] / (cov[0, 0] * cov[1, 1]).sqrt())
        sides: dict[str, Interval] = {}
        for agreement, hinge in self.weights:
            wide = min(1.0, hinge * count / (agreement * (count - 1) * (1 - rho)))
            if self.always and hinge:
                wide = 1.0
            sides[f"agreement {agreement:g}, hinge {hinge:g}"] = Interval.exact(math.sqrt(max(0.0, wide**2 - FLOOR)))
        return sides

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        found: dict[str, list[Tensor]] = {f"agreement {a:g}, hinge {v:g}": [] for a, v in self.weights}
        for batch in data_sets(world, self.size, len(world.modalities), trial):
            views = torch.stack(list(batch.x.values()))
            views = (views - views.mean(-2, keepdim=True)) / views.std(-2, keepdim=True)
            for agreement, hinge in self.weights:
                found[f"agreement {agreement:g}, hinge {hinge:g}"].append(_least(views, agreement, hinge))
        return {case: student(torch.cat(v), alpha=trial.alpha / len(found)) for case, v in found.items()}

    def controls(self) -> tuple[Control, ...]:
        held = replace(self, id=f"{self.id}!one", always=True)
        return (Control("the hinge holds the spread at one", held, self.world),)


def _least(views: Tensor, agreement: float, hinge: float) -> Tensor:
    """The spread c at which the loss of c·views is least, each data set by golden sections, [sets]."""
    part = (math.sqrt(5) - 1) / 2
    low, high = torch.zeros(views.shape[1]).to(views), torch.full((views.shape[1],), 2.0).to(views)

    def loss(c: Tensor) -> Tensor:
        codes = list(c[:, None, None] * views)
        return umurl_loss(codes, codes, agreement=agreement, variance=hinge)

    for _ in range(22):
        one, two = high - part * (high - low), low + part * (high - low)
        left = loss(one) < loss(two)
        low, high = torch.where(left, low, one), torch.where(left, two, high)
    return (low + high) / 2


SPREAD: Claim[Any] = Spread(
    id="R4.3",
    source=Source("umurl", "variance regularisation against collapse", "derived here"),
    statement="Without the variance hinge codes collapse; with it their spread is min(1, vM/ae), below one where agreement weighs more.",
    world=LatentRegression.exchangeable(3, 1.0),
    budgets={"small": Budget(60, 240), "full": Budget(600, 2400)},
    margin=0.03,
    unit="samples of 400",
)
