"""Laws of the gated world: missingness is a mixture, and sample-level values share out what a coalition gets right."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.info import subsets
from mmtheory.rng import Stream
from synthetic.strategies import gated
from synthetic.worlds import Gated


@given(world=gated(missing=True))
@settings(max_examples=25)
def test_missingness_is_a_mixture(world):
    complete = replace(world, patterns=(), chances=())
    for quantity in ("bayes_risk", "information"):
        for given_ in (frozenset(), *subsets(world.modalities)):
            mixed = sum(c * complete.known(quantity, given_ & a).middle for a, c in world.availability.items())
            assert world.known(quantity, given_).middle == pytest.approx(mixed, abs=1e-11)


@given(world=gated())
@settings(max_examples=25)
def test_one_full_pattern_is_no_missingness(world):
    whole = replace(world, patterns=("".join(world.modalities),), chances=(1.0,))
    for given_ in subsets(world.modalities):
        assert whole.known("bayes_risk", given_).middle == pytest.approx(
            world.known("bayes_risk", given_).middle, abs=1e-12
        )


@given(world=gated())
@settings(max_examples=25)
def test_the_vote_is_bayes(world):
    for given_ in (frozenset(), *subsets(world.modalities)):
        by_vote = world.known("bayes_risk", given_, route="vote").middle
        assert by_vote == pytest.approx(world.known("bayes_risk", given_, route="lost mass").middle, abs=1e-11)


@given(world=gated(), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_sample_values_share_out_the_grand_coalition(world, seed):
    batch = world.sample(64, stream=Stream(seed))
    right = world.correctness(batch.x, batch.y)[frozenset(world.modalities)]
    for game, total in (("count-correct", len(world.modalities) * right), ("correct", right)):
        value = world.sample_shapley(batch.x, batch.y, game=game)
        torch.testing.assert_close(sum(value.values()), total, rtol=0, atol=1e-12)


@given(world=gated())
@settings(max_examples=25)
def test_mean_values_are_those_of_the_accuracies(world):
    """M = 2: φ_a = ½(P_a + 2 P_ab − P_b)."""
    pair = replace(world, reliability=world.reliability[:2], flip=world.flip[:2])
    p = {s: 1 - pair.known("bayes_risk", s).middle for s in ("a", "b", "ab")}
    moments = pair.shapley_moments()
    assert moments["mean a"].middle == pytest.approx((p["a"] + 2 * p["ab"] - p["b"]) / 2, abs=1e-11)
    assert moments["mean b"].middle == pytest.approx((p["b"] + 2 * p["ab"] - p["a"]) / 2, abs=1e-11)


def test_patterns_are_checked():
    for patterns, chances in ((("ab",), (0.5,)), (("ac",), (1.0,)), (("ab", "ba"), (0.5, 0.5)), (("ab",), ())):
        with pytest.raises(ArgumentError):
            Gated(patterns=patterns, chances=chances)
