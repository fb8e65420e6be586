"""C6.1: joint training stops earlier, and without paired features the ensemble of unimodal learners is never worse."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Saturation

from ._draws import learnt


@final
@dataclass(frozen=True)
class Dominance(Claim[Saturation]):
    r"""In every draw :math:`k_m^{joint} \le k_m^{uni}` for each modality, hence err(UME) ≤ err(joint) where nothing is paired.

    Left: the least slack over all draws of the training set (counts of features, and risk to 1e-12). That joint training stops
    earlier holds with paired features too, which only help it to stop.
    """

    swapped: bool = False

    def broken_assumptions(self, world: Saturation) -> tuple[str, ...]:
        return ("the ensemble dominates only without paired features",) if world.paired and not self.swapped else ()

    def analytic(self, world: Saturation) -> Sides:
        return {name: Interval.exact(0.0) for name in (*(f"features of {m}" for m in world.modalities), "risk")}

    def empirical(self, world: Saturation, trial: Trial) -> Sides:
        here = learnt(world, trial.stream, trial.n)
        slack = {f"features of {m}": (here.alone[m] - here.jointly[m]).min() for m in world.modalities}
        slack["risk"] = (here.joint_risk - here.ensemble_risk).min()
        return {name: Interval.exact(float(v.to(torch.float64)), 1e-12) for name, v in slack.items()}

    def controls(self) -> tuple[Control, ...]:
        paired = replace(self, id=f"{self.id}!paired", swapped=True)
        return (Control("with a paired feature", paired, replace(self.world, paired=(0.5,) * 3)),)


DOMINANCE: Claim[Any] = Dominance(
    id="C6.1",
    source=Source("du2023", "modality laziness, constructive version", "derived here"),
    statement="In each draw joint training learns no more of any modality, and the ensemble's risk is not above its risk.",
    world=Saturation(presence=((0.5, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1), (0.3, 0.3, 0.1)), n=20),
    budgets={"small": Budget(2000, 2000), "full": Budget(40000, 40000)},
    relation=Relation.AT_LEAST,
    margin=1e-11,
    unit="training sets",
)
