"""Paired contrasts of trained methods: what the claims about balancing methods measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.diagnose import decay
from mmtheory.methods import METHODS, Method
from mmtheory.stats import Interval, Relation, clopper_pearson, student
from mmtheory.world import World
from synthetic.worlds import TwoDials

from ._trainings import Trainings, Values, beside

Point = Mapping[str, Any]


@final
@dataclass(frozen=True)
class Run:
    """A method as it is trained: how it is made, by which optimiser, at which learning rate, under which fusion."""

    make: Callable[[], Method]
    optimiser: str = "sgd"
    rate: float = 0.02
    fusion: str = "concat"


@final
@dataclass(frozen=True)
class Term:
    """``weight`` times a metric of a run at a point of the sweep, seed by seed."""

    weight: float
    run: str
    metric: str
    point: int = 0


Contrast = tuple[Term, ...]
SOLVED = 0.9


def share_of(values: Tensor, alpha: float) -> Interval:
    """Clopper and Pearson's interval for the mean of zeros and ones."""
    return clopper_pearson(int(values.sum()), values.numel(), alpha=alpha)


def method(name: str, **settings: Any) -> Run:  # noqa: ANN401 (a method's own settings)
    """A registered method with these settings, by SGD at the usual rate."""
    return Run(lambda: METHODS[name](**settings))


def adam(run: Run) -> Run:
    """The same by Adam at its usual rate."""
    return replace(run, optimiser="adam", rate=1e-3)


def gain(run: str, metric: str, point: int = 0, *, over: str = "joint", weight: float = 1.0) -> Contrast:
    """Run minus another at the same seeds and point."""
    return (Term(weight, run, metric, point), Term(-weight, over, metric, point))


@dataclass(frozen=True)
class Contrasts(Claim[World]):
    """Mean paired contrasts over tasks are at least their thresholds.

    Left: an interval of each contrast's mean, a seed being a task of its own with its samples, initialisation and order, common to all
    runs. Student's supposes that differences of accuracies over hundreds of test samples are nearly normal; what is yes or no takes
    Clopper and Pearson's (``share_of``), which supposes nothing. Right: the threshold, declared beforehand.

    :param points: where the world's dials stand, a mapping each; what no contrast speaks of is not trained.
    :param runs: what can be trained, by name; likewise.
    :param contrasts: case → (contrast, threshold).
    """

    points: tuple[Point, ...] = ({},)
    runs: Mapping[str, Run] = field(default_factory=dict[str, Run])
    contrasts: Mapping[str, tuple[Contrast, float]] = field(default_factory=dict[str, tuple[Contrast, float]])
    wrong: Mapping[str, tuple[str, tuple[Contrast, float]]] = field(
        default_factory=dict[str, tuple[str, tuple[Contrast, float]]]
    )
    """Control → (case, what is wrongly claimed of it)."""
    interval: Callable[[Tensor, float], Interval] = lambda values, alpha: student(values, alpha=alpha)
    sizes: tuple[int, int, int] = (800, 10, 800)
    epochs: int = 10

    def analytic(self, world: World) -> Sides:
        return {case: Interval.exact(threshold) for case, (_, threshold) in self.contrasts.items()}

    def empirical(self, world: World, trial: Trial) -> Sides:
        terms = [term for contrast, _ in self.contrasts.values() for term in contrast]
        watch = any(term.metric == "kept" for term in terms)
        factors = {"world": world.name, "dials": world.dials(), "sizes": self.sizes, "epochs": self.epochs, "batch": 64}
        trainings = Trainings(beside(trial.stream), factors, self.budgets["small"].first)
        found: dict[tuple[str, int], Values] = {}
        for name, point in sorted({(term.run, term.point) for term in terms}):
            run = self.runs[name]
            how = {"rates": [run.rate], "fusion": run.fusion, "optimiser": run.optimiser}
            found[name, point] = trainings.values(run, how, run.make, self.points[point], trial.n, watch=watch)
        share = trial.alpha / len(self.contrasts)
        return {c: self.interval(_value(contrast, found), share) for c, (contrast, _) in self.contrasts.items()}

    def controls(self) -> tuple[Control, ...]:
        made: list[Control] = []
        for name, (case, wrong) in self.wrong.items():
            claim = replace(self, id=f"{self.id}!{name}", contrasts={case: wrong}, wrong={})
            made.append(Control(name, claim, self.world))
        return tuple(made)


def _value(contrast: Contrast, found: Mapping[tuple[str, int], Values]) -> Tensor:
    """One number a seed."""
    return torch.stack([term.weight * _metric(found[term.run, term.point], term.metric) for term in contrast]).sum(0)


def _metric(values: Values, name: str) -> Tensor:
    """[seed]; ``solved`` is whether the accuracy is above 0.9, ``unsolved`` the opposite, ``kept`` is the share of its largest lead that b has at the end."""
    if name in {"solved", "unsolved"}:
        solved = (values["accuracy"] > SOLVED).double()
        return solved if name == "solved" else 1 - solved
    return 1 - decay(values["ratio b"]).double() if name == "kept" else values[name]


def prediction(
    number: str,
    statement: str,
    *,
    world: World | None = None,
    first: int = 32,
    most: int = 128,
    **parts: Any,  # noqa: ANN401 (the claim's own fields)
) -> Claim[Any]:
    """A prediction about the two-dial world (or another), at least its thresholds."""
    return Contrasts(
        id=f"laboratory/{number}",
        source=Source("laboratory", f"methods §16, {number.split('-')[0]}", "derived here"),
        statement=statement,
        world=world or TwoDials(),
        budgets={"small": Budget(first, most), "full": Budget(2 * first, 2 * most)},
        relation=Relation.AT_LEAST,
        unit="paired seeds",
        **parts,
    )
