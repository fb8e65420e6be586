"""Products of experts, functional analysis of variance, batched logistic regression."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.bounds import logistic_regression
from mmtheory.errors import ArgumentError
from mmtheory.info import anova, product_of_experts
from mmtheory.rng import Stream

SEEDS = st.integers(0, 2**32)
EPS = {torch.float32: 2e-6, torch.float64: 1e-14}


@given(
    seed=SEEDS,
    experts=st.integers(1, 8),
    classes=st.integers(2, 9),
    size=st.sampled_from((1e-4, 1.0, 1e2, 1e4)),
    dtype=st.sampled_from((torch.float32, torch.float64)),
)
def test_normalising_each_expert_first_changes_nothing(seed, experts, classes, size, dtype):
    logits = (size * Stream(seed).draws().uniform("logits", 5, experts, classes)).to(dtype)
    each = logits.log_softmax(-1).sum(-2).log_softmax(-1)
    torch.testing.assert_close(product_of_experts(logits), each, rtol=0, atol=4 * EPS[dtype] * (1 + size) * experts)
    assert product_of_experts(logits).exp().sum(-1).tolist() == pytest.approx([1.0] * 5, abs=20 * EPS[dtype])


@given(
    seed=SEEDS,
    experts=st.integers(2, 6),
    classes=st.integers(3, 6),
    dtype=st.sampled_from((torch.float32, torch.float64)),
)
def test_one_excluding_expert_excludes_a_class(seed, experts, classes, dtype):
    logits = Stream(seed).draws().normal("logits", 4, experts, classes).to(dtype)
    logits[:, 0, 1] = -math.inf
    kept = [c for c in range(classes) if c != 1]
    found = product_of_experts(logits)
    assert (found[:, 1] == -math.inf).all()
    torch.testing.assert_close(found[:, kept], product_of_experts(logits[..., kept]), rtol=0, atol=50 * EPS[dtype])


def test_excluding_every_class_is_loud():
    assert product_of_experts(torch.full((2, 3), -math.inf)).isnan().all()


@given(seed=SEEDS, experts=st.integers(1, 8), classes=st.integers(2, 9))
def test_every_expert_gets_one_gradient(seed, experts, classes):
    draws = Stream(seed).draws()
    logits = (3 * draws.normal("logits", 6, experts, classes)).requires_grad_()
    label = draws.integers("label", classes, 6)
    log_p = product_of_experts(logits)
    log_p.gather(-1, label[:, None]).sum().backward()
    expected = torch.nn.functional.one_hot(label, classes) - log_p.detach().exp()
    torch.testing.assert_close(logits.grad, expected[:, None].expand_as(logits), rtol=0, atol=1e-12)


@given(seed=SEEDS, shape=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_components_add_up_and_are_centred(seed, shape):
    draws = Stream(seed).draws()
    table = draws.normal("table", 2, *shape)
    weights = [w / w.sum() for w in (draws.uniform(i, n) + 0.05 for i, n in enumerate(shape))]
    parts = anova(table, weights)
    torch.testing.assert_close(sum(parts.values()), table, rtol=0, atol=1e-12)
    for axes, part in parts.items():
        for i in axes:
            mean = torch.tensordot(part.movedim(part.dim() - len(shape) + i, -1), weights[i], dims=1)
            assert mean.abs().max() < 1e-12


@given(seed=SEEDS, n=st.integers(1, 5), k=st.integers(1, 5))
def test_an_additive_table_has_no_interaction_and_moving_parts_between_experts_changes_nothing(seed, n, k):
    draws = Stream(seed).draws()
    f, g, h = draws.normal("f", n, 1), draws.normal("g", 1, k), draws.normal("h", n, k)
    weights = (torch.full((n,), 1 / n).double(), torch.full((k,), 1 / k).double())
    assert anova(f + g, weights)[0, 1].abs().max() < 1e-12
    torch.testing.assert_close(anova(f + g + h, weights)[0, 1], anova(h, weights)[0, 1], rtol=0, atol=1e-12)


def test_weights_must_be_probabilities():
    with pytest.raises(ArgumentError):
        anova(torch.zeros(2, 2), [torch.tensor([0.5, 0.6]), torch.tensor([0.5, 0.5])])


@given(seed=SEEDS, d=st.integers(1, 5), ridge=st.sampled_from((0.0, 0.01, 1.0)))
def test_logistic_fit_is_certified_and_stationary(seed, d, ridge):
    draws = Stream(seed).draws(range(3))
    x = draws.normal("x", 200, d)
    y = (draws.uniform("y", 200) < torch.sigmoid(x[..., 0])).long()
    fit = logistic_regression(x, y, ridge=ridge)
    assert (fit.gap < 1e-12).all()
    gradient = ((torch.sigmoid((x @ fit.weights[..., None])[..., 0]) - y)[..., None] * x).mean(-2) + ridge * fit.weights
    assert gradient.abs().max() < 1e-7


@given(seed=SEEDS)
def test_logistic_certificate_covers_the_loss_still_to_be_lost(seed):
    draws = Stream(seed).draws(range(4))
    x, y = draws.normal("x", 60, 3), draws.integers("y", 2, 60)
    best = logistic_regression(x, y)
    for iterations in (0, 1, 2):
        early = logistic_regression(x, y, iterations=iterations)
        assert (early.loss - best.loss <= early.gap + 1e-15).all()


def test_replicates_do_not_touch_each_other():
    draws = Stream(0).draws(range(5))
    x, y = draws.normal("x", 50, 3), draws.integers("y", 2, 50)
    stacked = logistic_regression(x, y)
    for r in range(5):
        torch.testing.assert_close(logistic_regression(x[r], y[r]).weights, stacked.weights[r], rtol=0, atol=1e-8)


def test_separable_data_is_not_certified():
    fit = logistic_regression(torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0]))
    assert fit.gap.item() == math.inf
    assert logistic_regression(torch.tensor([[1.0], [-1.0]]), torch.tensor([1, 0]), ridge=0.1).gap.item() < 1e-12


def test_logistic_arguments_are_checked():
    with pytest.raises(ArgumentError):
        logistic_regression(torch.zeros(3, 1), torch.tensor([0, 1, 2]))
    with pytest.raises(ArgumentError):
        logistic_regression(torch.zeros(3, 1), torch.zeros(4))
