"""C4.4 and C4.5: what joint training loses by competition, and that more data does not bring it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Interval, clopper_pearson, student
from synthetic.worlds import Competition

from ._networks import ClassNets, patterns, population, start, sufficient

AFTER = 20


def unimodal(world: Competition, stream: Stream, nets: int, modality: int) -> ClassNets:
    """Networks trained on one modality alone."""
    share = sufficient(world, modality)
    return start(world, stream.child("alone", modality), nets, share).until_learnt(then=share)[0].trained(AFTER)


def added(parts: list[ClassNets]) -> ClassNets:
    """One network of the modalities' separately trained parts."""
    weight = torch.stack([part.weight[:, :, m] for m, part in enumerate(parts)], 2)
    return replace(parts[0], weight=weight)


@final
@dataclass(frozen=True)
class JointRisk(Claim[Competition]):
    r"""Joint training has the risk of its lost modalities, and is worse than the better modality alone.

    .. math:: \text{alone: } \tfrac{K-1}{K}\,\mu_r, \qquad \text{joint: } \tfrac{K-1}{K}\sum_r p_r\mu_r, \qquad
        \text{trained apart and added: } \tfrac{K-1}{K}\prod_r\mu_r

    up to the share 2^−m of classes for which a modality has no neuron to start from. Left: exact risks of trained networks.
    """

    reading: Mapping[str, str] | None = None

    def analytic(self, world: Competition) -> Sides:
        known, named = world.answers(), self.reading or {}
        wanted = {
            "alone a": "unimodal_risk_a",
            "alone b": "unimodal_risk_b",
            "joint": "joint_risk",
            "apart": "recovered_risk",
        }
        sides = {case: known[named.get(case, name)] for case, name in wanted.items()}
        best = min(sides["alone a"], sides["alone b"], key=lambda side: side.middle)
        return {**sides, "joint beyond the best": sides["joint"] - best}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        stream, n = trial.stream, trial.n
        parts = [unimodal(world, stream, n, m) for m in range(2)]
        joint = start(world, stream.child("joint"), n, population(world)).until_learnt()[0].trained(AFTER)
        risks: dict[str, Tensor] = {
            "alone a": parts[0].risk(only=0),
            "alone b": parts[1].risk(only=1),
            "joint": joint.risk(),
        }
        risks["apart"] = added(parts).risk()
        risks["joint beyond the best"] = risks["joint"] - risks["alone b"]
        return {case: student(risk, alpha=trial.alpha / len(risks)) for case, risk in risks.items()}

    def controls(self) -> tuple[Control, ...]:
        wrong = {
            "no modality is lost": {"joint": "recovered_risk"},
            "only the worse is lost": {"joint": "unimodal_risk_b"},
        }
        return tuple(Control(n, replace(self, id=f"{self.id}!{n}", reading=r), self.world) for n, r in wrong.items())


@final
@dataclass(frozen=True)
class MoreData(Claim[Competition]):
    """The probability that a class's modality 1 is lost is the same at every size of the training set.

    Each training set of the world weighs the patterns of the classes; the networks of its classes are trained on it.

    :param power: the loss is said to fall like n to minus this; anything but 0 is wrong.
    """

    sizes: tuple[int, ...] = (20, 150, 1000)
    power: float = 0.0

    def analytic(self, world: Competition) -> Sides:
        lost = -world.answers()["win_a"] + 1
        return {f"n={n}": lost * ((self.sizes[0] / n) ** self.power) for n in self.sizes}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for size in self.sizes:
            share = shares(world, trial.stream.child("data", size), size, -(-trial.n // world.classes))[: trial.n]
            nets = start(world, trial.stream.child("nets", size), trial.n, share)
            lost = int((nets.until_learnt()[1] != 0).sum())
            sides[f"n={size}"] = clopper_pearson(lost, trial.n, alpha=trial.alpha / len(self.sizes))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (Control("it falls with the root of n", replace(self, id=f"{self.id}!root", power=0.5), self.world),)


def shares(world: Competition, stream: Stream, size: int, count: int) -> Tensor:
    """Share of each pattern among the training samples of each class, in so many training sets: [sets · classes, patterns]."""
    batch = world.sample(size * count, stream=stream)
    shown = torch.stack([v.amax(-1) > 0 for v in batch.x.values()], -1).reshape(count, size, -1)
    of_class = torch.nn.functional.one_hot(batch.y.reshape(count, size), world.classes).to(torch.float64)
    pattern = torch.stack([(shown == row.bool()).all(-1) for row in patterns(world)], -1).to(torch.float64)
    return (of_class.mT @ pattern / (size / world.classes)).reshape(count * world.classes, -1)


JOINT_RISK: Claim[Any] = JointRisk(
    id="C4.4",
    source=Source("huang2022", "joint training is worse than the best modality alone", "recalled"),
    statement="Alone a modality errs on its own insufficient samples; joint training errs on those of the modality that won, class by class.",
    world=Competition(classes=3, neurons=7, sigma0=0.005),
    budgets={"small": Budget(700, 2800), "full": Budget(4000, 16000)},
    margin=0.025,
    unit="classes",
)

MORE_DATA: Claim[Any] = MoreData(
    id="C4.5",
    source=Source("huang2022", "the probability of loss does not vanish", "recalled"),
    statement="The probability that a class's modality is lost is the lottery's at every sample size.",
    world=Competition(strength=(1.1, 1.0), mu=(0.2, 0.2), classes=2, neurons=3, sigma0=0.05),
    budgets={"small": Budget(2400, 9600), "full": Budget(16000, 64000)},
    margin=0.08,
    unit="classes",
)
