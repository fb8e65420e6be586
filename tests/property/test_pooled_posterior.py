"""The posterior of all modalities from those of each, under conditional independence and any prior."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.info import pooled_posterior, product_of_experts
from mmtheory.rng import Stream


@given(st.integers(0, 2**30), st.integers(1, 8), st.integers(2, 6))
def test_exact_under_conditional_independence(seed, modalities, classes):
    draws = Stream(seed).draws()
    prior = draws.normal("prior", classes).log_softmax(0)
    likelihood = draws.normal("likelihood", modalities, classes)
    each = (likelihood + prior).log_softmax(-1)
    truth = (likelihood.sum(0) + prior).log_softmax(-1)
    assert torch.allclose(pooled_posterior(each, prior), truth, atol=1e-12)


@given(st.integers(0, 2**30), st.integers(1, 5))
def test_a_uniform_prior_changes_nothing_and_order_neither(seed, modalities):
    each = Stream(seed).draws().normal("logits", 4, modalities, 3).log_softmax(-1)
    flat = torch.zeros(3, dtype=torch.float64).log_softmax(0)
    assert torch.allclose(pooled_posterior(each, flat), product_of_experts(each), atol=1e-12)
    assert torch.allclose(pooled_posterior(each.flip(-2), flat), pooled_posterior(each, flat), atol=1e-12)
