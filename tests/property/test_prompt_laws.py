"""Prompted attention against one softmax over prompts and content."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from mmtheory.errors import ArgumentError
from mmtheory.models.prompts import prompted_attention
from mmtheory.rng import Stream


@given(st.integers(0, 2**30), st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
def test_the_mixture_is_one_softmax(seed, tokens, prompts, width):
    draws = Stream(seed).draws(range(3))
    q, k, v = (draws.normal(part, tokens, width) for part in "qkv")
    pk, pv = draws.normal("pk", prompts, width), draws.normal("pv", prompts, width)
    parts = prompted_attention(q, k, v, pk, pv)
    whole = scaled_dot_product_attention(q, torch.cat([pk, k], 1), torch.cat([pv, v], 1))
    assert torch.allclose(parts.output, whole, atol=1e-9)
    assert bool(((parts.share > 0) & (parts.share < 1)).all())
    assert torch.allclose(parts.content, scaled_dot_product_attention(q, k, v), atol=1e-9)


@given(st.integers(0, 2**30), st.integers(1, 4))
def test_more_prompts_take_more(seed, prompts):
    draws = Stream(seed).draws()
    q, k, v = (draws.normal(part, 3, 2) for part in "qkv")
    pk, pv = draws.normal("pk", prompts + 1, 2), draws.normal("pv", prompts + 1, 2)
    fewer, more = (prompted_attention(q, k, v, pk[:n], pv[:n]).share for n in (prompts, prompts + 1))
    assert bool((more >= fewer).all())


def test_no_prompts_and_other_widths_are_refused():
    x = torch.zeros(2, 3)
    with pytest.raises(ArgumentError, match="at least one prompt"):
        prompted_attention(x, x, x, x[:0], x[:0])
    with pytest.raises(ArgumentError, match=r"as wide as the query \(3\)"):
        prompted_attention(x, x, x, x[:, :2], x)
