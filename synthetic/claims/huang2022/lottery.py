"""C4.1 to C4.3: a lottery of initial weights decides which modality a class is learnt from."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation, clopper_pearson, student
from synthetic.worlds import Competition

from ._networks import ClassNets, population, start

Rule = Literal["head start", "strength", "mean"]


def predicted(world: Competition, nets: ClassNets, rule: Rule) -> Tensor:
    """Who should win each class, from its initial weights: by (4.1), by strength times weight, or by the mean weight; −1 for none."""
    initial = nets.weight[:, 0]
    if rule == "head start":
        return world.winner(initial)
    if rule == "mean":
        return (initial.mean(-1) * world.head_starts).argmax(-1)
    return (initial.amax(-1) * torch.tensor(world.strength, dtype=torch.float64)).argmax(-1)


@final
@dataclass(frozen=True)
class Winner(Claim[Competition]):
    r"""The modality with the largest :math:`(\pi_r s_r^q)^{1/(q-2)} \max_l w^0_{l,r}` is learnt first, in at least 95 % of the classes.

    Left: share of classes of networks under gradient flow whose first neuron in the linear part belongs to the predicted modality.
    """

    ratios: tuple[float, ...] = (1.0, 1.3, 2.0)
    rule: Rule = "head start"

    def analytic(self, world: Competition) -> Sides:
        return {f"s1/s2={r:g}": Interval.exact(0.95) for r in self.ratios}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for ratio in self.ratios:
            here = replace(world, strength=(ratio, 1.0))
            nets = start(here, trial.stream.child(f"{ratio:g}"), trial.n, population(here))
            right = int((predicted(here, nets, self.rule) == nets.until_learnt()[1]).sum())
            sides[f"s1/s2={ratio:g}"] = clopper_pearson(right, trial.n, alpha=trial.alpha / len(self.ratios))
        return sides

    def controls(self) -> tuple[Control, ...]:
        rules: dict[str, Rule] = {"strength in place of its power": "strength", "the mean neuron, not the best": "mean"}
        return tuple(Control(n, replace(self, id=f"{self.id}!{r}", rule=r), self.world) for n, r in rules.items())


@final
@dataclass(frozen=True)
class WinProbability(Claim[Competition]):
    r"""A class is learnt from modality 1 with the probability of the lottery, ½(1 − 4^−m) at equal head starts.

    .. math:: p_1 = \int_0^\infty m\varphi(t)\Phi(t)^{m-1}\Phi(t\,a_1/a_2)^m dt, \qquad a_r = (\pi_r s_r^q)^{1/(q-2)}
    """

    ratios: tuple[float, ...] = (1.0, 2.0)
    all_shown: bool = False

    def analytic(self, world: Competition) -> Sides:
        law = replace(world, mu=(0.0, 0.0)) if self.all_shown else world
        return {f"s1/s2={r:g}": replace(law, strength=(r, 1.0)).answers()["win_a"] for r in self.ratios}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for ratio in self.ratios:
            here = replace(world, strength=(ratio, 1.0))
            nets = start(here, trial.stream.child(f"{ratio:g}"), trial.n, population(here))
            won = int((nets.until_learnt()[1] == 0).sum())
            sides[f"s1/s2={ratio:g}"] = clopper_pearson(won, trial.n, alpha=trial.alpha / len(self.ratios))
        return sides

    def controls(self) -> tuple[Control, ...]:
        full = replace(self, id=f"{self.id}!shown", all_shown=True)
        return (Control("the insufficient samples forgotten", full, self.world),)


@final
@dataclass(frozen=True)
class VanishingError(Claim[Competition]):
    """The share of classes that the lottery predicts wrongly falls with σ₀, and is below two per cent at σ₀ = 0.05.

    Cases: the fall from each σ₀ to the next (paired, the same normal numbers), and minus the last share.
    """

    sigmas: tuple[float, ...] = (1.0, 0.5, 0.2, 0.05)

    def analytic(self, world: Competition) -> Sides:
        falls = {f"{a:g} to {b:g}": Interval.exact(0.0) for a, b in itertools.pairwise(self.sigmas)}
        return {**falls, "minus the last": Interval.exact(-0.02)}

    def empirical(self, world: Competition, trial: Trial) -> Sides:
        wrong: list[Tensor] = []
        for sigma in self.sigmas:
            here = replace(world, sigma0=sigma)
            nets = start(here, trial.stream, trial.n, population(here))
            wrong.append((world.winner(nets.weight[:, 0]) != nets.until_learnt()[1]).to(torch.float64))
        alpha = trial.alpha / len(self.sigmas)
        pairs = zip(itertools.pairwise(self.sigmas), itertools.pairwise(wrong), strict=True)
        sides = {f"{a:g} to {b:g}": student(one - two, alpha=alpha) for (a, b), (one, two) in pairs}
        return {**sides, "minus the last": -clopper_pearson(int(wrong[-1].sum()), trial.n, alpha=alpha)}

    def controls(self) -> tuple[Control, ...]:
        rising = replace(self, id=f"{self.id}!rising", sigmas=self.sigmas[::-1])
        return (Control("it rises as σ₀ falls", rising, self.world),)


WINNER: Claim[Any] = Winner(
    id="C4.1",
    source=Source("huang2022", "the mechanism, in the one-sparse limit", "derived here"),
    statement="The modality with the largest head start times best initial weight is learnt first.",
    world=Competition(mu=(0.2, 0.1), classes=2, neurons=5, sigma0=0.02),
    budgets={"small": Budget(600, 2400), "full": Budget(4000, 16000)},
    relation=Relation.AT_LEAST,
    unit="classes",
)

WIN_PROBABILITY: Claim[Any] = WinProbability(
    id="C4.2",
    source=Source(
        "huang2022", "the probability that a modality is not discovered, in the one-sparse limit", "derived here"
    ),
    statement="A class is learnt from modality 1 with probability ∫ mφΦ^(m−1)Φ(t a₁/a₂)^m dt.",
    world=Competition(mu=(0.6, 0.1), classes=2, neurons=3, sigma0=0.03),
    budgets={"small": Budget(3000, 12000), "full": Budget(20000, 80000)},
    margin=0.06,
    unit="classes",
)

VANISHING_ERROR: Claim[Any] = VanishingError(
    id="C4.3",
    source=Source("huang2022", "small initialisation, in the one-sparse limit", "derived here"),
    statement="The lottery's predictions fail in a share of the classes that vanishes with the initial scale.",
    world=Competition(strength=(2.0, 1.0), mu=(0.2, 0.2), classes=2, neurons=5),
    budgets={"small": Budget(1500, 6000), "full": Budget(10000, 40000)},
    relation=Relation.AT_LEAST,
    margin=0.01,
    unit="classes",
)
