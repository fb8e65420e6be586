"""C5.7: with fewer samples than the first modality has coordinates, late fusion never learns the second, early fusion does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, flow
from synthetic.worlds.phase_laws import Moments

DIMS = (20, 4)
UNTIL, SIZE = 40.0, 1e-8


def wide_world() -> DeepLinear:
    """20 strong and 4 weak coordinates, all independent, labels with noise."""
    spread = [1.0] * DIMS[0] + [0.09] * DIMS[1]
    rows = tuple(tuple(v if i == j else 0.0 for j in range(sum(DIMS))) for i, v in enumerate(spread))
    return DeepLinear(weights=(0.5,) * sum(DIMS), label_noise=0.25, dims=DIMS, covariance=rows)


@final
@dataclass(frozen=True)
class PermanentBias(Claim[DeepLinear]):
    r"""n = 6 ≤ rank X_A: late fusion ends at :math:`[X_A^+y;\,0]`, early fusion at the joint minimum-norm fit :math:`X^+y`.

    Left: the largest of all replicates' relative distances of the trained end-to-end maps from these, two layers, u₀ = 1e-8.
    """

    exchanged: bool = False

    def analytic(self, world: DeepLinear) -> Sides:
        return {case: Interval.exact(0.0) for case in ("late", "late, weak modality", "early")}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        batch = world.sample(6, stream=trial.stream, replicates=range(trial.n))
        x = batch.stacked()
        seen = Moments(x.mT @ x / batch.n, (x.mT @ batch.y[..., None])[..., 0] / batch.n, DIMS)
        first = torch.cat([_least(batch.x["a"], batch.y), torch.zeros_like(batch.x["b"][..., 0, :])], -1)
        targets = {"late": first, "early": _least(x, batch.y)}
        if self.exchanged:
            targets = {"late": targets["early"], "early": first}
        far: dict[str, Tensor] = {}
        for name, layer in (("late", 2), ("early", 1)):
            net = FusionNet(2, layer, 1, DIMS)
            start = net.aligned(
                SIZE, replace(seen, covariance=torch.eye(sum(DIMS), dtype=torch.float64).expand_as(seen.covariance))
            )
            maps = net.maps(flow(net, seen, start, until=UNTIL, tolerance=1e-5).state)
            far[name] = (maps - targets[name]).norm(dim=-1) / targets[name].norm(dim=-1)
            if name == "late":
                far["late, weak modality"] = maps[..., DIMS[0] :].norm(dim=-1)
        return {name: Interval.exact(float(v.max()), 1e-9) for name, v in far.items()}

    def controls(self) -> tuple[Control, ...]:
        wrong = replace(self, id=f"{self.id}!exchanged", exchanged=True)
        return (Control("early and late exchanged", wrong, self.world),)


def _least(x: Tensor, y: Tensor) -> Tensor:
    """The minimum-norm interpolant X⁺y."""
    return (torch.linalg.pinv(x) @ y[..., None])[..., 0]


PERMANENT_BIAS: Claim[Any] = PermanentBias(
    id="C5.7",
    source=Source("zhang2024", "over-parametrised fusion, with our limit points", "derived here"),
    statement="With n ≤ rank X_A late fusion ends at [X_A⁺y; 0], early fusion at X⁺y.",
    world=wide_world(),
    budgets={"small": Budget(4, 4), "full": Budget(64, 64)},
    margin=1e-4,
    unit="data sets",
)
