"""The imbalance laboratory: methods × dials × levels × paired seeds, each method at its own validated learning rate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, final

import torch

from mmtheory.errors import ArgumentError
from mmtheory.experiment import Cell, Record, chunks, code_version, summary, training_bytes
from mmtheory.methods import made
from mmtheory.models import FUSIONS
from mmtheory.stats import holm, sign_flip
from mmtheory.training import check_method_loss
from synthetic.worlds import WORLDS

from ._inputs import at_rest, shapes, world_at

EXPERIMENT = "imbalance"
ALWAYS = ("joint", "unimodal", "uniform", "ume")
DEFAULT = (*ALWAYS, "ogm", "ogm-ge", "opm", "pmr", "amss", "mla")
FOR_NUMBERS = (*ALWAYS, "mimo", "mmpareto", "umt", "gblend", "mslr", "mses")
"""Those that can be trained by a squared loss."""
RATES: Mapping[str, tuple[float, ...]] = {
    "sgd": (0.007, 0.02, 0.06),
    "adam": (3e-4, 1e-3, 3e-3),
    "adamw": (3e-4, 1e-3, 3e-3),
}
LEVEL = 0.05
UNSHOWN = ("validation", "raw", "decay")
INPUTS = 64
"""Numbers a modality that a stack is planned for."""

Point = Mapping[str, Any]


@final
@dataclass(frozen=True)
class Axis:
    """A dial and its levels, or several dials crossed."""

    name: str
    points: tuple[Point, ...]

    @property
    def levels(self) -> list[Any]:
        """What a point is called: the level, or the levels of the crossed dials."""
        return [next(iter(p.values())) if len(p) == 1 else list(p.values()) for p in self.points]

    @property
    def numeric(self) -> bool:
        """Whether a slope on the level means something."""
        return all(len(p) == 1 for p in self.points) and all(isinstance(v, int | float) for v in self.levels)


@final
@dataclass(frozen=True)
class Plan:
    """What a laboratory run does, as data.

    :param dials: the world's dials away from their defaults.
    :param rates: learning rates that every method is given; its own is the one of best validation accuracy at that point.
    :param methods: () for those that are usual with the world's kind of target.
    :param sign: ask a world of regression for the sign of its target, so that methods that look at classes can be trained in it.
    :param sizes: samples for training, validation, test.
    """

    axes: tuple[Axis, ...]
    world: str = "two-dials"
    dials: Mapping[str, Any] = field(default_factory=dict[str, Any])
    methods: tuple[str, ...] = ()
    seeds: int = 16
    seed: int = 0
    fusion: str = "concat"
    optimiser: str = "sgd"
    rates: tuple[float, ...] = ()
    sizes: tuple[int, int, int] = (2000, 500, 2000)
    epochs: int = 20
    batch: int = 64
    sign: bool = False

    def __post_init__(self) -> None:
        for name in self.everyone:
            self._check_method(name)
        for word, choice, kind in (
            (self.fusion, FUSIONS, "fusion"),
            (self.optimiser, RATES, "optimiser"),
        ):
            if word not in choice:
                raise ArgumentError(f"imbalance: expected a {kind} among {', '.join(choice)}, found {word!r}")
        if not 2 <= self.seeds <= 40 or self.epochs < 1 or min(self.sizes) < 1 or self.batch < 1:
            raise ArgumentError(
                f"imbalance: expected 2 to 40 seeds and positive epochs, samples and batch, found {self.seeds} seeds, "
                f"{self.epochs} epochs, {self.sizes} samples, batch {self.batch}"
            )
        if any(not 0 < rate < math.inf for rate in self.rates):
            raise ArgumentError(f"imbalance: expected learning rates > 0, found {list(self.rates)}")
        for axis in self.axes:
            for point in axis.points:
                world_at(self.world, self.dials, point)

    def _check_method(self, name: str) -> None:
        method = made(name)
        if self.numbers:
            try:
                check_method_loss(method, "squared")
            except ArgumentError as error:
                raise ArgumentError(f"{error}; with --sign {self.world} asks for the sign of its target") from None

    @property
    def numbers(self) -> bool:
        """Whether the targets are numbers, learnt by a squared loss."""
        return self.world in WORLDS and WORLDS[self.world].task == "regression" and not self.sign

    @property
    def metric(self) -> str:
        """What methods are compared by in the first place."""
        return "mse" if self.numbers else "accuracy"

    @property
    def everyone(self) -> tuple[str, ...]:
        """The methods with those that stand in every table."""
        return tuple(dict.fromkeys((*ALWAYS, *(self.methods or (FOR_NUMBERS if self.numbers else DEFAULT)))))

    def as_json(self) -> dict[str, Any]:
        """The plan as it is written into the run folder."""
        return {**asdict(self), "methods": list(self.everyone), "rates": list(self.learning_rates)}

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The rates given, or the optimiser's."""
        return self.rates or RATES[self.optimiser]

    def cells(self) -> Iterator[Cell]:
        """One ensemble a method and axis, cut over points where a stack would hold too many numbers."""
        shared = {
            "world": self.world, "dials": dict(self.dials), "rates": list(self.learning_rates), "seeds": list(range(self.seeds)),
            "seed": self.seed, "fusion": self.fusion, "optimiser": self.optimiser, "sizes": list(self.sizes),
            "epochs": self.epochs, "batch": self.batch, "sign": self.sign,
        }  # fmt: skip
        for axis in self.axes:
            width = INPUTS * len(world_at(self.world, self.dials, axis.points[0]).modalities)
            each = training_bytes(0, width * self.sizes[0] * self.seeds * len(self.learning_rates))
            stacks = list(self._stacks(axis, each))
            for method in self.everyone:
                for points in stacks:
                    factors = {**shared, "axis": axis.name, "points": points, "method": method}
                    yield Cell(EXPERIMENT, factors, code_version())

    def _stacks(self, axis: Axis, each: int) -> Iterator[list[dict[str, Any]]]:
        """Neighbouring points whose networks have equal shapes, at most as many as fit into memory."""

        def shaped(point: Point) -> tuple[object, ...]:
            return shapes(world_at(self.world, self.dials, point))

        for _, alike in itertools.groupby(axis.points, shaped):
            points = [dict(point) for point in alike]
            for part in chunks(len(points), bytes_each=each, most=len(points)):
                yield [points[k] for k in part]


def with_neutral(world: str, dials: Mapping[str, Any], axis: Axis) -> Axis:
    """The axis with the dial's value at rest among its levels: what the dial does is told from what is there without it."""
    here = world_at(world, dials, {})
    rest = {dial: at_rest(here, dial) for dial in axis.points[0]}
    if any(dict(p) == rest for p in axis.points):
        return axis
    whole = Axis(axis.name, (rest, *axis.points))
    return Axis(axis.name, tuple(sorted(whole.points, key=_only_level))) if whole.numeric else whole


def _only_level(point: Point) -> float:
    """The level of a point of one numeric dial."""
    return float(next(iter(point.values())))


@final
@dataclass(frozen=True)
class Measured:
    """What an axis' ensembles measured, put together: metric → [point][rate][seed], by method."""

    axis: Axis
    metrics: Mapping[str, Mapping[str, list[list[list[float | None]]]]]
    traces: Mapping[str, Mapping[str, list[list[Mapping[str, list[float | None]]]]]]
    rates: tuple[float, ...]

    @classmethod
    def of(cls, plan: Plan, axis: Axis, records: Iterable[Record]) -> Measured:
        """From the records of a store."""
        metrics: dict[str, dict[str, list[Any]]] = {}
        traces: dict[str, dict[str, list[Any]]] = {}
        place = {str(dict(p)): k for k, p in enumerate(axis.points)}
        mine = [r for r in records if r.cell.factors["axis"] == axis.name]
        for record in sorted(mine, key=lambda r: place[str(dict(r.cell.factors["points"][0]))]):
            f = record.cell.factors
            nothing = {"metrics": [None] * len(f["seeds"]), "traces": {"mean": [], "low": [], "high": []}}
            for kept, name in ((metrics, "metrics"), (traces, "traces")):
                _append(
                    kept.setdefault(f["method"], {}),
                    record.measured[name],
                    [nothing[name]] * len(f["rates"]),
                    len(f["points"]),
                )
        return cls(axis, metrics, traces, plan.learning_rates)

    def chosen(self, method: str, point: int, metric: str = "") -> int:
        """The place of the learning rate of best mean validation accuracy (R² of numbers); a run that was stopped counts as worst.

        Separate trainings of the modalities have separate rates: a probe of theirs is judged at the rate of best validation probe.
        """
        own = made(method).separate and f"validation {metric}" in self.metrics[method]
        judge = f"validation {metric}" if own else "validation"
        worst = -math.inf if "mse" in self.metrics[method] else 0.0
        means = [
            sum(worst if v is None else v for v in seeds) / len(seeds) for seeds in self.metrics[method][judge][point]
        ]
        return max(range(len(means)), key=lambda k: (means[k], -k))

    def values(self, method: str, metric: str, point: int) -> list[float | None]:
        """One number a seed, at the method's own learning rate."""
        return self.metrics[method][metric][point][self.chosen(method, point, metric)]

    def shown(self, method: str) -> list[str]:
        """The metrics of the test samples; the rest is for choices and diagnoses."""
        return [name for name in self.metrics[method] if name.split(" ")[0] not in UNSHOWN]

    def paired(self, method: str, metric: str, point: int) -> list[float]:
        """Method minus joint, seed by seed, both at their own learning rates; seeds that were stopped in either are left out."""
        if "joint" not in self.metrics:
            return []
        both = zip(self.values(method, metric, point), self.values("joint", metric, point), strict=True)
        return [a - b for a, b in both if a is not None and b is not None]


def _append(columns: dict[str, list[Any]], found: Mapping[str, list[Any]], nothing: list[Any], points: int) -> None:
    """More points behind those that are there; what only some points have (a third modality, say) has nothing at the others."""
    before = max((len(column) for column in columns.values()), default=0)
    for name in {**columns, **found}:
        columns.setdefault(name, [nothing] * before).extend(found.get(name, [nothing] * points))


def rows(plan: Plan, measured: Measured) -> list[dict[str, Any]]:
    """One row a method, level and metric: mean, 95 % interval, paired difference to joint with its own."""
    found: list[dict[str, Any]] = []
    for method in measured.metrics:
        for k, level in enumerate(measured.axis.levels):
            for metric in measured.shown(method):
                values = [v for v in measured.values(method, metric, k) if v is not None]
                found.append({
                    "method": method, "dial": measured.axis.name, "level": level, "metric": metric,
                    **summary(values), "delta_joint": summary(measured.paired(method, metric, k)),
                    "seeds": len(values), "stopped": plan.seeds - len(values), "rate": measured.rates[measured.chosen(method, k, metric)],
                })  # fmt: skip
    return found


def slopes(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Dose and response: each seed's slope of the paired difference on the level, sign-flip tests, Holm over the whole table."""
    found: list[dict[str, Any]] = []
    for m in (one for one in measured if one.axis.numeric and len(one.axis.points) > 1):
        x = torch.tensor([float(v) for v in m.axis.levels], dtype=torch.float64)
        weight = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        for method in (name for name in m.metrics if name != "joint"):
            for metric in m.shown(method):
                by_level = [m.paired(method, metric, k) for k in range(len(x))]
                if len({len(v) for v in by_level}) > 1 or len(by_level[0]) < 2:
                    continue
                per_seed = (weight @ torch.tensor(by_level, dtype=torch.float64)).tolist()
                found.append({
                    "method": method, "dial": m.axis.name, "metric": metric, **summary(per_seed),
                    "p": sign_flip(per_seed), "seeds": len(per_seed),
                })  # fmt: skip
    for row, p in zip(found, holm([row["p"] for row in found]), strict=True):
        row["p_holm"] = p
    return found
