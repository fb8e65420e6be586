"""A claim: a falsifiable statement about a world, with an analytic side, an empirical side and controls that must be refuted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, final

from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream
from mmtheory.stats import Interval, Relation, Verdict
from mmtheory.world import World

W = TypeVar("W", bound=World)
Tag = Literal["paper", "code", "known", "recalled", "derived here"]
Sides = Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a statement comes from: paper key, the place in it, and how sure we are that it says so.

    Tags: ``paper`` and ``code`` (read there), ``known`` (confident), ``recalled`` (shape right, details may be off: never quoted as the
    paper's), ``derived here``.
    """

    paper: str
    where: str
    tag: Tag

    def __str__(self) -> str:
        """``Huang et al. 2021, Theorem 1``-like text."""
        return f"{self.paper}, {self.where}"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a confrontation may spend: it looks at ``first``, 2·``first``, … up to ``most`` samples or replicates."""

    first: int
    most: int
    alpha: float = 1e-6

    def __post_init__(self) -> None:
        if not (1 <= self.first <= self.most and 0 < self.alpha < 1):
            raise ArgumentError(f"budget: expected 1 <= first <= most and 0 < alpha < 1, found {self}")


@dataclass(frozen=True, slots=True)
class Trial:
    """What one look hands to the empirical side: sample size, error probability to spend, randomness, device."""

    n: int
    alpha: float
    stream: Stream
    device: str = "cpu"


@dataclass(frozen=True)
class Claim(ABC, Generic[W]):
    """``left <relation> right`` for each of its cases, about a world that could refute it.

    Both sides are intervals by case name; one case is the usual thing, a curve has one a point. ``analytic`` calls ``world.known``
    (or closed forms) and never samples; ``empirical`` samples, or computes by an unrelated route from the law's own parameters, and
    never asks for known answers. The empirical side's alphas must sum to at most ``trial.alpha`` over the cases.
    """

    id: str
    source: Source
    statement: str
    world: W
    budgets: Mapping[str, Budget]
    relation: Relation = Relation.EQUAL
    margin: float = 0.0
    registered: Verdict = Verdict.HOLDS
    unit: str = "samples"

    def __post_init__(self) -> None:
        if set(self.budgets) != {"small", "full"}:
            raise ArgumentError(f"{self.id}: expected budgets 'small' and 'full', found {sorted(self.budgets)}")

    def broken_assumptions(self, world: W) -> tuple[str, ...]:
        """What the statement presupposes and this world does not give; () means in scope. Decided without sampling."""
        return ()

    @abstractmethod
    def analytic(self, world: W) -> Sides:
        """The right side."""

    @abstractmethod
    def empirical(self, world: W, trial: Trial) -> Sides:
        """The left side."""

    @abstractmethod
    def controls(self) -> tuple[Control, ...]:
        """Wrong statements, wrong formulas or lying worlds, each of which must come out VIOLATED."""

    def tightened(self, factor: float) -> Claim[W] | None:
        """The same statement with its slack multiplied by ``factor``; None where there is no slack to multiply.

        A claim that gives one is confronted with less and less slack after it held, so that the finding says how much of the bound
        could be saved in this world; a bound that survives a hundredth of its slack is VACUOUS there.
        """
        return None

    def remarks(self, world: W) -> tuple[str, ...]:
        """What else a reader of the verdict should know, as sentences: whether a bound that holds says anything, from which size on."""
        return ()


@dataclass(frozen=True, slots=True)
class Control:
    """A confrontation that must end VIOLATED."""

    name: str
    claim: Claim[Any]
    world: World


@final
@dataclass(frozen=True)
class Misstated(Claim[W]):
    """Another claim with its analytic side put through ``wrong``: the general negative control."""

    inner: Claim[W] | None = None
    wrong: Callable[[Interval], Interval] = lambda side: side

    @property
    def _claim(self) -> Claim[W]:
        if self.inner is None:
            raise ArgumentError("misstated: expected an inner claim, found none")
        return self.inner

    def broken_assumptions(self, world: W) -> tuple[str, ...]:
        return self._claim.broken_assumptions(world)

    def analytic(self, world: W) -> Sides:
        return {case: self.wrong(side) for case, side in self._claim.analytic(world).items()}

    def empirical(self, world: W, trial: Trial) -> Sides:
        return self._claim.empirical(world, trial)

    def controls(self) -> tuple[Control, ...]:
        return ()


def misstated(claim: Claim[W], name: str, wrong: Callable[[Interval], Interval], *, world: W | None = None) -> Control:
    """The control that confronts ``claim`` with its right side put through ``wrong`` (in its own world unless another is given)."""
    inner = Misstated(
        id=f"{claim.id}!{name}",
        source=claim.source,
        statement=f"control ({name}): {claim.statement}",
        world=world or claim.world,
        budgets=claim.budgets,
        relation=claim.relation,
        margin=claim.margin,
        unit=claim.unit,
        inner=claim,
        wrong=wrong,
    )
    return Control(name, inner, inner.world)
