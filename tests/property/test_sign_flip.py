"""The sign-flip test: equal to brute force, invariant, and valid under its null."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream
from mmtheory.stats import clopper_pearson, sign_flip


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
@settings(max_examples=60)
def test_equals_brute_force(values):
    patterns = list(itertools.product((-1, 1), repeat=len(values)))
    far = sum(abs(sum(s * v for s, v in zip(p, values, strict=True))) >= abs(sum(values)) for p in patterns)
    assert sign_flip(values) == pytest.approx(far / len(patterns), abs=1e-15)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.1, 100), st.randoms())
@settings(max_examples=40)
def test_neither_scale_nor_order_nor_sign_matters(values, scale, shuffler):
    shuffled = [-scale * v for v in values]
    shuffler.shuffle(shuffled)
    assert sign_flip(shuffled) == pytest.approx(sign_flip(values), abs=1e-12)


def test_rejects_no_more_often_than_it_says():
    """Error probability 1e-6."""
    rows = Stream(5, ("sign flip",)).draws().signs("sign", 2000, 8) * (
        1 + Stream(6, ("size",)).draws().uniform("size", 2000, 8)
    )
    rejected = sum(sign_flip(row) <= 0.05 for row in rows)
    assert clopper_pearson(rejected, 2000, alpha=1e-6).low <= 0.05


def test_forty_are_the_most():
    assert sign_flip(torch.ones(40)) == pytest.approx(2.0**-39)
    with pytest.raises(ArgumentError, match="1 to 40 finite"):
        sign_flip(torch.ones(41))
    with pytest.raises(ArgumentError, match="finite"):
        sign_flip([1.0, float("nan")])
