"""The contract of a claim: two sides that do not look at each other, and controls that can catch it."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

from mmtheory.claims import Claim, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Relation, Verdict
from mmtheory.world import World

W = TypeVar("W", bound=World)


def check_claim(claim: Claim[Any], *, stream: Stream | None = None) -> None:
    """Fail with a sentence unless this is a claim: sides that do not leak into each other, equal cases, honest alphas, controls.

    - scope and the analytic side are had from a world that cannot be sampled;
    - the empirical side is had from a world that knows no answers;
    - both sides have the same cases, and the empirical alphas sum to at most the trial's;
    - there is at least one control, and it is about something else than the claim itself;
    - id, source and statement say something.

    Whether it holds is for ``confront``.

    :raises AssertionError: naming the claim and the broken clause.
    """
    start = stream or Stream(0, ("check_claim",))
    assert claim.id, f"claim {claim!r}: expected an id"
    assert claim.source.paper, f"{claim.id}: expected a source"
    assert claim.source.where, f"{claim.id}: expected a place in the source"
    assert claim.statement.strip(), f"{claim.id}: expected a statement"
    assert isinstance(claim.relation, Relation), f"{claim.id}: expected a relation"
    assert isinstance(claim.registered, Verdict), f"{claim.id}: expected a registered verdict"
    broken = claim.broken_assumptions(mute(claim.world))
    assert not broken, f"{claim.id}: its own world breaks its assumptions: {broken}"
    right = claim.analytic(mute(claim.world))
    trial = Trial(claim.budgets["small"].first, 1e-3, start)
    left = claim.empirical(blind(claim.world), trial)
    assert set(left) == set(right), f"{claim.id}: the sides' cases differ: {sorted(set(left) ^ set(right))}"
    spent = sum(side.alpha for side in left.values())
    assert spent <= trial.alpha * (1 + 1e-9), f"{claim.id}: the cases spend {spent}, the trial allows {trial.alpha}"
    assert all(side.alpha == 0 for side in right.values()), f"{claim.id}: the analytic side is not certified"
    controls = claim.controls()
    assert controls, f"{claim.id}: expected at least one negative control, found none"
    names = [control.name for control in controls]
    assert len(set(names)) == len(names), f"{claim.id}: expected controls with names of their own, found {names}"


def mute(world: W) -> W:
    """The same world, which cannot be sampled."""

    def draw(self: World, n: int, *args: object, **kwargs: object) -> object:  # noqa: ARG001
        raise AssertionError(f"{self.name}: an analytic side asked for samples")

    return _disguised(world, "Mute", dict.fromkeys(("draw", "scatter"), draw))


def blind(world: W) -> W:
    """The same world, which knows no answers."""

    def refuse(self: World, *args: object, **kwargs: object) -> object:  # noqa: ARG001
        raise AssertionError(f"{self.name}: an empirical side asked for known answers")

    return _disguised(world, "Blind", dict.fromkeys(("exact", "known", "routes", "answers", "shapley"), refuse))


def _disguised(world: W, prefix: str, members: dict[str, Any]) -> W:
    """A copy whose class is a subclass of its own with some members replaced."""
    twin = copy.copy(world)
    object.__setattr__(twin, "__class__", type(f"{prefix}{type(world).__name__}", (type(world),), members))
    return twin
