"""Noise drawn on the device: as much a replicate's own as every other draw, and standard normal or uniform."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.rng import WIDE, Stream

SIZES = st.sampled_from([1, 7, WIDE - 1, WIDE, WIDE + 3])
TYPES = st.sampled_from([torch.float32, torch.float64])
KINDS = st.sampled_from(["noise", "chances"])


def drawn(stream, kind, size, dtype, replicates=None, name="g"):
    return getattr(stream.draws(replicates), kind)(name, size, dtype=dtype)


@given(seed=st.integers(0, 2**40), size=SIZES, dtype=TYPES, kind=KINDS, count=st.integers(1, 4))
def test_a_replicates_noise_is_its_own(seed, size, dtype, kind, count):
    """Whoever is drawn beside it, and under whatever other names before."""
    stream = Stream(seed)
    together = drawn(stream, kind, size, dtype, range(count))
    assert (together.shape, together.dtype) == ((count, size), dtype)
    draws = stream.child(count - 1).draws()
    draws.noise("other", size, dtype=dtype)
    assert together[-1].equal(getattr(draws, kind)("g", size, dtype=dtype))


@given(seed=st.integers(0, 2**40), size=SIZES, kind=KINDS)
def test_other_names_and_replicates_are_other_numbers(seed, size, kind):
    both = drawn(Stream(seed), kind, size, torch.float64, range(2))
    assert not both[0].equal(both[1])
    assert not both[0].equal(drawn(Stream(seed).child(0), kind, size, torch.float64, name="h"))


@given(seed=st.integers(0, 2**40), dtype=TYPES)
def test_wide_draws_follow_their_law(seed, dtype):
    """Kolmogorov and Smirnov's distance at error probability 1e-6, by Massart's bound."""
    n = 2 * WIDE
    limit = math.sqrt(math.log(2 / 1e-6) / (2 * n))
    steps = torch.arange(1, n + 1, dtype=torch.float64) / n
    u = drawn(Stream(seed), "chances", n, dtype).double().sort().values
    z = torch.special.ndtr(drawn(Stream(seed), "noise", n, dtype).double()).sort().values
    assert 0 <= u.min() <= u.max() < 1
    for found in (u, z):
        assert torch.maximum((found - steps).abs(), (found - steps + 1 / n).abs()).max() < limit
    assert torch.maximum((z**1.1 - steps).abs(), (z**1.1 - steps + 1 / n).abs()).max() > limit


def test_a_chance_is_never_rounded_up_to_one():
    draws = Stream(0).draws()
    draws.uniform = lambda _name, *shape: torch.full(shape, 1 - 2**-53, dtype=torch.float64)
    assert draws.chances("g", 3, dtype=torch.float32).max() < 1


@pytest.mark.parametrize("size", [3, WIDE])
def test_a_name_is_drawn_once(size):
    draws = Stream(0).draws()
    draws.noise("g", size, dtype=torch.float32)
    with pytest.raises(ArgumentError, match="drawn already"):
        draws.chances("g", size, dtype=torch.float32)
