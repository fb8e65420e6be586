"""The interface of a law that can be sampled and that knows its own answers; the laws themselves live in ``synthetic.worlds``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self, cast, final

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.info import shapley, subsets
from mmtheory.rng import Draws, Stream
from mmtheory.stats import Interval

Json = None | bool | int | float | str | tuple["Json", ...]
Task = Literal["regression", "classification"]

QUANTITIES: Mapping[str, str] = MappingProxyType({
    "information": "I(x_S; y), nat",
    "bayes_risk": "least risk of any predictor of y from x_S: 0–1 risk (classification) or mean squared error (regression)",
    "label_entropy": "H(y), nat (classification)",
    "posterior_entropy": "H(y | x_S), nat (classification)",
    "redundancy": "PID R of the two modalities or groups, nat",
    "unique": "PID U of the given one modality beside the other, nat",
    "synergy": "PID S, nat",
})  # fmt: skip


@dataclass(frozen=True)
class World(ABC):
    """A joint law of (x_1, …, x_M, y) that can be sampled and that knows its own answers.

    A world is a frozen dataclass whose fields are its dials: numbers, strings, or tuples of them (one value a modality), so that
    ``World.from_dict(world.as_dict())`` is the same law exactly. ``known`` is certified or raises; it never samples.
    """

    name: ClassVar[str]
    task: ClassVar[Task]

    @property
    @abstractmethod
    def modalities(self) -> tuple[str, ...]:
        """Names in their order."""

    @abstractmethod
    def draw(self, n: int, draws: Draws) -> Batch:
        """n samples for each replicate of ``draws``; the one place where a law is sampled."""

    @abstractmethod
    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        """(quantity, route) → function of the subset; a quantity's first route is the one ``known`` takes by default.

        Two routes of one quantity are two unrelated computations, and a contract compares them.
        """

    def answers(self) -> Mapping[str, Interval]:
        """Exact answers of this law that are not functions of a subset (phase times, crossovers, …)."""
        return {}

    @final
    def sample(self, n: int, *, stream: Stream, replicates: range | None = None, device: str = "cpu") -> Batch:
        """n samples; with ``replicates``, stacked on a leading axis, row r being what ``stream.child(r)`` alone would give."""
        if n < 1:
            raise ArgumentError(f"{self.name}: expected n >= 1 samples, found {n}")
        return self.draw(n, stream.draws(replicates, device=device))

    @final
    def routes(self, quantity: str) -> tuple[str, ...]:
        """The independent computations of a quantity, default first; () means unknown here."""
        return tuple(route for q, route in self.exact() if q == quantity)

    @final
    def known(self, quantity: str, given: Iterable[str] = (), *, route: str | None = None) -> Interval:
        """The certified answer (alpha = 0) for the subset ``given``; nothing is ever estimated here.

        :raises NotExactError: this law has no exact answer to that question, or none by that route.
        :raises ArgumentError: a modality that the world does not have.
        """
        subset = frozenset(given)
        if missing := subset - set(self.modalities):
            raise ArgumentError(
                f"{self.name}: expected modalities among {', '.join(self.modalities)}, found {', '.join(sorted(missing))}"
            )
        routes = self.routes(quantity)
        if not routes or (route is not None and route not in routes):
            found = f"{quantity!r}" if route is None else f"{quantity!r} by route {route!r}"
            raise NotExactError(f"{self.name}: expected one of {sorted({q for q, _ in self.exact()})}, found {found}")
        answer = self.exact()[quantity, route or routes[0]](subset)
        if answer.alpha:
            raise NotExactError(f"{self.name}: {quantity} came with alpha = {answer.alpha}; a known answer has none")
        return answer

    @final
    def shapley(self, quantity: str = "information", *, empty: Interval | None = None) -> dict[str, Interval]:
        """Shapley value of each modality in the game S ↦ known(quantity, S), by enumeration of all 2^M subsets.

        :param empty: the worth of the empty set; None means 0.
        """
        worth = {s: self.known(quantity, s) for s in subsets(self.modalities)}
        return shapley({**worth, frozenset(): empty or Interval.exact(0.0)}, self.modalities)

    def dials(self) -> dict[str, Json]:
        """The dials by name, as JSON can hold them."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def label(self) -> str:
        """Name with the dials that are not at their defaults: ``gaussian-regression(rho=0.5)``."""
        changed = [
            f"{f.name}={_short(getattr(self, f.name))}" for f in fields(self) if getattr(self, f.name) != f.default
        ]
        return f"{self.name}({', '.join(changed)})" if changed else self.name

    def as_dict(self) -> dict[str, Any]:
        """Name and dials; ``from_dict`` gives the same law back, bit for bit."""
        return {"world": self.name, "dials": self.dials()}

    @classmethod
    def from_dials(cls, dials: Mapping[str, Any]) -> Self:
        """The world with these dials, defaults for the rest.

        :raises ArgumentError: an unknown dial, with the list of those that exist.
        """
        names = [f.name for f in fields(cls)]
        if unknown := sorted(set(dials) - set(names)):
            raise ArgumentError(f"{cls.name}: expected dials among {', '.join(names)}, found {', '.join(unknown)}")
        return cls(**{k: cast("Any", _frozen(v)) for k, v in dials.items()})


def _frozen(value: Any) -> Json:  # noqa: ANN401 (JSON as it comes)
    """Lists as tuples, all the way down."""
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(v) for v in cast("list[Any]", value))
    return value


def _short(value: Any) -> str:  # noqa: ANN401
    """A dial's value in a label: comma lists for tuples, no needless digits."""
    if isinstance(value, tuple):
        return ",".join(_short(v) for v in cast("tuple[Any, ...]", value))
    return f"{value:g}" if isinstance(value, float) else str(value)
