"""Confronting a claim with a world: looks at growing n, each spending part of the error probability, then the controls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream
from mmtheory.stats import Interval, Verdict, decide, joint, look_alpha
from mmtheory.world import World

from ._claim import Budget, Claim, Trial

LADDER = (0.5, 0.1, 0.01)


@dataclass(frozen=True, slots=True)
class Case:
    """One comparison of a finding."""

    name: str
    left: Interval
    right: Interval
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """The state of a confrontation after its k-th look, as progress displays show it."""

    claim: str
    control: str | None
    k: int
    n: int
    most: int
    worst: Case
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Finding:
    """What a confrontation found: the only thing that is stored."""

    claim: str
    source: str
    tag: str
    statement: str
    verdict: Verdict
    registered: Verdict
    relation: str
    margin: float
    n: int
    unit: str
    alpha: float
    world: str
    dials: Mapping[str, Any]
    cases: tuple[Case, ...]
    stream: str
    seconds: float
    broken_assumptions: tuple[str, ...] = ()
    controls: Mapping[str, Verdict] = field(default_factory=dict[str, Verdict])
    ladder: Mapping[float, Verdict] = field(default_factory=dict[float, Verdict])
    remarks: tuple[str, ...] = ()

    @property
    def tightness(self) -> float | None:
        """The smallest factor by which the slack was multiplied without a refutation; None where there is no slack to multiply."""
        return min((1.0, *(c for c, v in self.ladder.items() if v is not Verdict.VIOLATED))) if self.ladder else None

    @property
    def worst(self) -> Case | None:
        """The case that decided, or came nearest to deciding otherwise; None out of scope."""
        return worst(self.cases, self.relation) if self.cases else None

    @property
    def as_registered(self) -> bool:
        """Whether the verdict is the registered one and every control was refuted."""
        return self.verdict is self.registered and all(v is Verdict.VIOLATED for v in self.controls.values())


def worst(cases: Iterable[Case], relation: str) -> Case:
    """The decisive case: a violated one before an inconclusive one before a held one, then the narrowest slack."""
    order = {Verdict.VIOLATED: 0, Verdict.INCONCLUSIVE: 1}

    def slack(case: Case) -> float:
        gap = case.right.low - case.left.high if relation == "<=" else case.left.low - case.right.high
        return (
            -max(abs(case.left.high - case.right.low), abs(case.left.low - case.right.high))
            if relation == "=="
            else gap
        )

    return min(cases, key=lambda c: (order.get(c.verdict, 2), s if not math.isnan(s := slack(c)) else -math.inf))


def confront(
    claim: Claim[Any],
    world: World | None = None,
    *,
    stream: Stream,
    budget: str | Budget = "small",
    device: str = "cpu",
    on_look: Callable[[Look], None] = lambda _look: None,
) -> Finding:
    """Look at doubling n, spending alpha/2^k at look k, until every case is decided or the budget is spent; then try the controls.

    The k-th look uses at most alpha/2^k, so all looks together err with probability at most alpha whenever they stop. A claim that holds
    while one of its controls does not come out VIOLATED is VACUOUS in that world, and so is a bound that survives a hundredth of its slack.

    :param world: the world to confront it with; the claim's own by default.
    :param budget: ``"small"``, ``"full"`` (the claim's declared ones), or a Budget.
    :param on_look: called after every look, the controls' included.
    """
    started = time.perf_counter()
    here = world or claim.world
    spend = claim.budgets[budget] if isinstance(budget, str) else budget
    root = stream.child(claim.id)
    broken = claim.broken_assumptions(here)
    cases, verdict, n = (), Verdict.OUT_OF_SCOPE, 0
    controls, ladder = dict[str, Verdict](), dict[float, Verdict]()
    if not broken:
        cases, verdict, n = _looks(claim, here, root, spend, device, on_look, None)
        for control in claim.controls():
            limits = control.claim.budgets[budget] if isinstance(budget, str) else budget
            _, found, _ = _looks(
                control.claim, control.world, root.child("control", control.name), limits, device, on_look, control.name
            )
            controls[control.name] = found
        if verdict is Verdict.HOLDS:
            ladder = _descend(claim, here, root, spend, device, on_look)
            caught = bool(controls) and all(v is Verdict.VIOLATED for v in controls.values())
            if not caught or ladder.get(LADDER[-1]) in {Verdict.HOLDS, Verdict.INCONCLUSIVE}:
                verdict = Verdict.VACUOUS
    return Finding(
        claim=claim.id, source=str(claim.source), tag=claim.source.tag, statement=claim.statement, verdict=verdict,
        registered=claim.registered, relation=claim.relation.value, margin=claim.margin, n=n, unit=claim.unit, alpha=spend.alpha,
        world=here.label(), dials=here.dials(), cases=cases, stream=str(root), seconds=time.perf_counter() - started,
        broken_assumptions=broken, controls=controls, ladder=ladder, remarks=claim.remarks(here),
    )  # fmt: skip


def _descend(
    claim: Claim[Any], world: World, stream: Stream, budget: Budget, device: str, on_look: Callable[[Look], None]
) -> dict[float, Verdict]:
    """Verdicts with less and less slack, down to the first refutation; nothing for a claim without slack."""
    ladder = dict[float, Verdict]()
    for factor in LADDER:
        rung = claim.tightened(factor)
        if rung is None or Verdict.VIOLATED in ladder.values():
            break
        name = f"slack × {factor:g}"
        _, ladder[factor], _ = _looks(rung, world, stream.child("ladder", name), budget, device, on_look, name)
    return ladder


def _looks(
    claim: Claim[Any],
    world: World,
    stream: Stream,
    budget: Budget,
    device: str,
    on_look: Callable[[Look], None],
    control: str | None,
) -> tuple[tuple[Case, ...], Verdict, int]:
    """Cases, verdict and n of the last look."""
    right = claim.analytic(world)
    n, k = budget.first, 1
    while True:
        left = claim.empirical(world, Trial(n, look_alpha(budget.alpha, k), stream, device))
        if set(left) != set(right):
            raise ArgumentError(
                f"{claim.id}: expected both sides to have the same cases, found {sorted(set(left) ^ set(right))} on one only"
            )
        cases = tuple(
            Case(c, left[c], right[c], decide(left[c], claim.relation, right[c], margin=claim.margin)) for c in right
        )
        verdict = joint({c.name: c.verdict for c in cases})
        on_look(Look(claim.id, control, k, n, budget.most, worst(cases, claim.relation.value), verdict))
        if verdict is not Verdict.INCONCLUSIVE or n >= budget.most:
            return cases, verdict, n
        n, k = min(2 * n, budget.most), k + 1
