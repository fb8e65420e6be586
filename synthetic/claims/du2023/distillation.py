"""C6.3: distilled features repair what joint training leaves unlearnt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation, clopper_pearson, student
from synthetic.claims.huang2022._networks import start, sufficient
from synthetic.claims.huang2022.lost_modality import AFTER, unimodal
from synthetic.worlds import Competition, Saturation

from ._draws import learnt

STEPS = 450


@final
@dataclass(frozen=True)
class RepairedCompetition(Claim[Competition]):
    r"""A joint network drawn to its unimodal teachers' features is no worse than the naive one, and takes back half of the loss or more.

    .. math:: L = \mathrm{CE} + \lambda \sum_m \|\varphi_m - \varphi_m^{\text{teacher}}\|^2

    φ_m is what the outputs hear of modality m. Both networks of a pair start from the same weights. Cases: the share of classes in
    which the distilled one's exact risk is not above the naive one's, and the mean gain, against half of what separate training gains.

    :param weight: λ; 0 distils nothing.
    """

    weight: float = 1.0

    def analytic(self, world: Competition) -> Sides:
        known = world.answers()
        lost = known["joint_risk"] - known["recovered_risk"]
        return {"no worse": Interval.exact(0.9), "gain": lost * 0.5}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        n = trial.n
        teachers = [unimodal(world, trial.stream, n, m).activation()[..., m] for m in range(2)]
        target = torch.stack(teachers, -1)
        fresh = start(world, trial.stream.child("student"), n, sufficient(world))
        naive = fresh.until_learnt()[0].trained(AFTER).risk()
        distilled = fresh.trained(STEPS, lambda nets: 2 * self.weight * (target - nets.activation())).risk()
        no_worse = int((distilled <= naive + 1e-12).sum())
        return {
            "no worse": clopper_pearson(no_worse, n, alpha=trial.alpha / 2),
            "gain": student(naive - distilled, alpha=trial.alpha / 2),
        }

    def controls(self) -> tuple[Control, ...]:
        return (Control("no distillation", replace(self, id=f"{self.id}!0", weight=0.0), self.world),)


@final
@dataclass(frozen=True)
class RepairedSaturation(Claim[Saturation]):
    """With the teachers' features besides its own the joint learner has a lower risk in nine training sets of ten or more."""

    distilled: bool = True

    def analytic(self, world: Saturation) -> Sides:
        return {"better": Interval.exact(0.9)}

    def empirical(self, world: Saturation, trial: Trial) -> Sides:
        here = learnt(world, trial.stream, trial.n)
        risk = here.distilled_risk if self.distilled else here.joint_risk
        better = int((risk < here.joint_risk * (1 - 1e-9)).sum())
        return {"better": clopper_pearson(better, trial.n, alpha=trial.alpha)}

    def controls(self) -> tuple[Control, ...]:
        naive = replace(self, id=f"{self.id}!naive", distilled=False)
        return (Control("without the teachers' features", naive, self.world),)


REPAIRED_COMPETITION: Claim[Any] = RepairedCompetition(
    id="C6.3",
    source=Source("du2023", "UMT against naive joint training, in the competition world", "derived here"),
    statement="Feature distillation is no worse than naive joint training and takes back at least half of what competition loses.",
    world=Competition(classes=2, neurons=8, sigma0=0.05),
    budgets={"small": Budget(400, 1600), "full": Budget(3000, 12000)},
    relation=Relation.AT_LEAST,
    unit="classes",
)

REPAIRED_SATURATION: Claim[Any] = RepairedSaturation(
    id="C6.3b",
    source=Source("du2023", "UMT against naive joint training, in the saturation world", "derived here"),
    statement="Feature distillation beats naive joint training in at least nine training sets of ten.",
    world=Saturation(presence=((0.35,) * 24, (0.35,) * 24), n=60),
    budgets={"small": Budget(1000, 4000), "full": Budget(8000, 32000)},
    relation=Relation.AT_LEAST,
    unit="training sets",
)
