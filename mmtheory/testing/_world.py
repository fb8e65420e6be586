"""The contract of a world: what sampling must keep to and what its known answers must agree with."""

from __future__ import annotations

import math

import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.info import subsets
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from mmtheory.world import World

SIZES = {"redundancy": 2, "synergy": 2, "unique": 1}
"""How many modalities a quantity of the decomposition is given; the others take any number."""


def check_world(world: World, *, stream: Stream | None = None, n: int = 64) -> None:
    """Fail with a sentence unless this is a world: pure sampling, agreeing routes, monotone answers, exact serialisation.

    - equal streams give equal bits; the first k of n samples are the k samples; replicate r depends on ``stream.child(r)`` alone;
    - every quantity's routes agree within their intervals, are certified (alpha = 0) and not NaN;
    - a larger subset never has a larger Bayes risk nor less information;
    - ``from_dials(dials())`` is an equal world with equal answers; an unknown dial and an unknown modality are refused.

    :param stream: where the samples come from; a fixed one by default.
    :raises AssertionError: naming the world and the broken clause.
    """
    start = stream or Stream(0, ("check_world",))
    _check_sampling(world, start, n)
    _check_answers(world)
    _check_serialisation(world)


def _equal(a: Batch, b: Batch) -> bool:
    """Whether two batches are equal bit for bit."""
    same = a.modalities == b.modalities and torch.equal(a.y, b.y)
    return (
        same
        and all(torch.equal(a.x[m], b.x[m]) for m in a.x)
        and all(torch.equal(a.present[m], b.present[m]) for m in a.present)
    )


def _check_sampling(world: World, stream: Stream, n: int) -> None:
    label = world.label()
    batch = world.sample(n, stream=stream)
    assert batch.modalities == world.modalities, (
        f"{label}: samples have {batch.modalities}, the world {world.modalities}"
    )
    assert batch.n == n, f"{label}: asked for {n} samples, got {batch.n}"
    assert all(v.shape[0] == n for v in batch.x.values()), f"{label}: an input does not have {n} rows"
    batch.checked()
    assert _equal(batch, world.sample(n, stream=stream)), f"{label}: equal streams gave different samples"
    assert not _equal(batch, world.sample(n, stream=stream.child("other"))), (
        f"{label}: another stream gave the same samples"
    )
    first = batch.rows(slice(0, n // 2))
    assert _equal(first, world.sample(n // 2, stream=stream)), (
        f"{label}: the first {n // 2} of {n} samples are not {n // 2} samples"
    )
    stacked = world.sample(n, stream=stream, replicates=range(1, 4))
    alone = world.sample(n, stream=stream.child(2))
    row = Batch({m: v[1] for m, v in stacked.x.items()}, stacked.y[1], {m: v[1] for m, v in stacked.present.items()})
    assert _equal(row, alone), f"{label}: replicate 2 of {{1, 2, 3}} is not what its own stream gives"


def _answers(world: World, quantity: str) -> dict[frozenset[str], Interval]:
    """The quantity wherever it is known."""
    found: dict[frozenset[str], Interval] = {}
    for given in subsets(world.modalities):
        if len(given) != SIZES.get(quantity, len(given)):
            continue
        try:
            found[given] = world.known(quantity, given)
        except NotExactError:
            continue
    return found


def _check_answers(world: World) -> None:
    label = world.label()
    for quantity in {q for q, _ in world.exact()}:
        for given, answer in _answers(world, quantity).items():
            where = f"{label}: {quantity} of {sorted(given)}"
            assert not math.isnan(answer.low + answer.high) or math.isinf(answer.high), f"{where} is NaN"
            for route in world.routes(quantity)[1:]:
                try:
                    other = world.known(quantity, given, route=route)
                except NotExactError:
                    continue
                apart = max(answer.low - other.high, other.low - answer.high)
                assert apart <= 0, f"{where}: {answer} by {world.routes(quantity)[0]} but {other} by {route}"
    for quantity, sign in (("bayes_risk", -1.0), ("information", 1.0)):
        known = _answers(world, quantity)
        for small in known:
            for large in known:
                if small < large:
                    grown = sign * known[large] - sign * known[small]
                    assert grown.high >= 0, (
                        f"{label}: {quantity} of {sorted(large)} is on the wrong side of {sorted(small)}"
                    )


def _check_serialisation(world: World) -> None:
    label = world.label()
    twin = type(world).from_dials(world.dials())
    assert twin == world, f"{label}: from_dials(dials()) gave {twin.label()}"
    for quantity in {q for q, _ in world.exact()}:
        assert _answers(twin, quantity) == _answers(world, quantity), (
            f"{label}: {quantity} changed on the way through its dials"
        )
    _refused(f"{label}: an unknown dial was accepted", lambda: type(world).from_dials({"no such dial": 1}))
    quantity = next(iter(world.exact()))[0]
    _refused(f"{label}: an unknown modality was accepted", lambda: world.known(quantity, {"no such modality"}))


def _refused(sentence: str, attempt: object) -> None:
    """Whether the attempt ends in an ArgumentError."""
    try:
        attempt()  # pyright: ignore[reportCallIssue]
    except ArgumentError:
        return
    raise AssertionError(sentence)
