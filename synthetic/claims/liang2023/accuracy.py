"""C7.6: information bounds the best accuracy from both sides, and the printed upper bound says nothing about two classes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import accuracy_bounds, fano_entropy, feder_merhav_error, hellman_raviv_error
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Table

from ._tables import random_tables

_CASES = ("exponential", "fano", "hellman-raviv", "feder-merhav", "printed", "printed, two classes: vacuous")


@final
@dataclass(frozen=True)
class Accuracy(Claim[Table]):
    r"""On random tables: :math:`e^{I-H(Y)} \le P_{acc}`, Fano, Hellman–Raviv and Feder–Merhav, and the printed upper bound.

    The left sides are the worst excess over tables of the world's shape (and of two classes for the last case); the right side is 0.

    :param power: the lower bound is raised to this power (1 is the theorem; less is stronger).
    :param steep: Hellman and Raviv's and Feder and Merhav's errors times this (1 is the theorem).
    :param fano: Fano's entropy times this (1 is the theorem).
    """

    power: float = 1.0
    steep: float = 1.0
    fano: float = 1.0

    def analytic(self, world: Table) -> Sides:
        return {case: Interval.exact(0.0) for case in _CASES}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        rows, classes = world.table.numel() // world.classes, world.classes
        worst: dict[str, float] = dict.fromkeys(_CASES, -math.inf)
        for labels, spike in ((classes, 1.0), (classes, 3.0), (2, 1.0), (2, 3.0)):
            stream = trial.stream.child(labels, str(spike))
            table = random_tables(stream, trial.n, (rows, labels), spike=spike)
            accuracy = table.amax(-1).sum(-1)
            # H(Y|X) and H(Y) written out here: the bounds are under trial, not the library's entropies.
            share = table / table.sum(-1, keepdim=True)
            left = -torch.special.xlogy(table, share).sum((-2, -1))
            prior = table.sum(-2)
            label = -torch.special.xlogy(prior, prior).sum(-1)
            bounds = accuracy_bounds(label - left, label, labels)
            excess = {
                "exponential": bounds.lower**self.power - accuracy,
                "fano": left - self.fano * fano_entropy(1 - accuracy, labels),
                "hellman-raviv": 1 - accuracy - self.steep * hellman_raviv_error(left),
                "feder-merhav": 1 - accuracy - self.steep * feder_merhav_error(left, labels),
                "printed": accuracy - bounds.upper,
            }
            if labels == 2:
                excess["printed, two classes: vacuous"] = 1 - bounds.upper
            worst |= {case: max(worst[case], float(v.max())) for case, v in excess.items()}
        return {case: Interval.exact(v, 1e-12) for case, v in worst.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("square root of the lower bound", replace(self, power=0.5), self.world),
            Control("errors a tenth smaller", replace(self, steep=0.9), self.world),
            Control("Fano's entropy a tenth smaller", replace(self, fano=0.9), self.world),
        )


ACCURACY: Claim[Any] = Accuracy(
    id="C7.6",
    source=Source("liang2023", "performance bounds (2024), with Fano, Hellman–Raviv, Feder–Merhav", "known"),
    statement="Information bounds the best accuracy; the printed upper bound says nothing about two classes.",
    world=Table("sum"),
    budgets={"small": Budget(4000, 4000), "full": Budget(40000, 40000)},
    relation=Relation.AT_MOST,
    margin=1e-9,
    unit="tables",
)
