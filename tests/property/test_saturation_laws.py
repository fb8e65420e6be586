"""Dominance in the saturation world on arbitrary occurrences (29), and its exact expectations."""

from __future__ import annotations

import itertools
import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.info import subsets
from mmtheory.rng import Stream
from synthetic.worlds import Saturation

rows = st.lists(st.floats(0.01, 0.95), max_size=4).map(lambda r: tuple(sorted(r, reverse=True)))
worlds = st.builds(Saturation, presence=st.lists(rows, min_size=1, max_size=5).map(tuple), n=st.integers(1, 12))


@given(worlds, st.integers(0, 2**20), st.floats(0, 1))
def test_joint_stops_earlier_and_the_ensemble_dominates(world: Saturation, seed: int, density: float):
    draws = Stream(seed).draws(range(8))
    shown = {
        m: draws.uniform(m, world.n, len(p)) < density for m, p in zip(world.modalities, world.presence, strict=True)
    }
    here = world.learn(shown)
    assert all(bool((here.jointly[m] <= here.alone[m]).all()) for m in world.modalities)
    assert bool((here.ensemble_risk <= here.joint_risk + 1e-15).all())
    assert bool((here.distilled_risk <= torch.minimum(here.ensemble_risk, here.joint_risk) + 1e-15).all())


@given(worlds, st.data())
def test_a_pair_never_lengthens_joint_training(world: Saturation, data: st.DataObject):
    pairs = math.comb(len(world.modalities), 2)
    masses = data.draw(st.lists(st.floats(0, 1), min_size=pairs, max_size=pairs))
    paired = Saturation(presence=world.presence, paired=tuple(masses), n=world.n)
    shown = paired.occurrences(world.n, Stream(0).draws(range(8)))
    with_pairs, without = paired.learn(shown), world.learn(shown)
    assert all(bool((with_pairs.jointly[m] <= without.jointly[m]).all()) for m in world.modalities)


@given(worlds)
def test_risk_by_both_routes_and_falling_in_the_modalities(world: Saturation):
    for chosen in subsets(world.modalities):
        product, first = (world.known("bayes_risk", chosen, route=r) for r in world.routes("bayes_risk"))
        assert max(product.low, first.low) <= min(product.high, first.high)
        for m in chosen:
            assert product.low <= world.known("bayes_risk", chosen - {m}).high


@given(st.lists(st.floats(0.05, 0.9), min_size=1, max_size=3), st.integers(1, 3))
def test_expected_risk_is_the_sum_over_every_training_set(chances: list[float], n: int):
    row = tuple(sorted(chances, reverse=True))
    world = Saturation(presence=(row,), n=n)
    cells = list(itertools.product([False, True], repeat=n * len(row)))
    shown = torch.tensor(cells).reshape(len(cells), n, len(row))
    p = torch.tensor(row, dtype=torch.float64)
    weight = torch.where(shown, p, 1 - p).prod(-1).prod(-1)
    total = float((weight * world.learn({"a": shown}).ensemble_risk).sum())
    assert math.isclose(total, world.expected_ensemble().middle, rel_tol=1e-12, abs_tol=1e-13)
    assert math.isclose(total, world.expected_joint().middle, rel_tol=1e-12, abs_tol=1e-13)
