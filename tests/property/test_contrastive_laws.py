"""The adaptive contrastive loss, InfoNCE, the ranking hinge and the ranking metrics against plain loops and known bounds."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.models.contrastive import adaptive_contrastive, adaptive_hinge, info_nce
from mmtheory.rng import Stream
from mmtheory.stats import average_precision, discounted_gain, normalised_gain

seeds, sizes = st.integers(0, 2**30), st.integers(2, 6)


def draw(seed, *shape):
    return Stream(seed).draws().normal("numbers", *shape)


@given(seeds, sizes, st.booleans(), st.floats(0.1, 20), st.floats(0, 0.5))
def test_the_loss_is_the_sum_of_its_formula(seed, n, keep, sharpness, margin):
    s = torch.tanh(draw(seed, n, n))
    total = 0.0
    for i in range(n):
        near = max(0.0, 1 + margin - float(s[i, i]))
        others = [float(s[i, j]) for j in range(n) if keep or j != i]
        logs = torch.logsumexp(
            torch.tensor([sharpness * max(0.0, v + margin) * (v - margin) for v in others]).double(), 0
        )
        total += math.log1p(math.exp(float(logs) - sharpness * near * (float(s[i, i]) - 1 + margin)))
    ours = adaptive_contrastive(s, margin=margin, sharpness=sharpness, keep_diagonal=keep)
    assert math.isclose(float(ours), total / n, rel_tol=1e-5, abs_tol=1e-9)


@given(seeds, sizes)
def test_an_order_of_pairs_and_rows_that_do_not_count(seed, n):
    s = torch.tanh(draw(seed, n, n))
    turn = torch.randperm(n, generator=Stream(seed).torch())
    assert torch.allclose(adaptive_contrastive(s[turn][:, turn], sharpness=8), adaptive_contrastive(s, sharpness=8))
    first = torch.arange(n) == 0
    alone = adaptive_contrastive(s, sharpness=8, rows=first)
    rest = adaptive_contrastive(s, sharpness=8, rows=~first)
    assert torch.allclose((alone + (n - 1) * rest) / n, adaptive_contrastive(s, sharpness=8))
    assert adaptive_contrastive(s, rows=torch.zeros(n, dtype=torch.bool)) == 0


@given(seeds, sizes)
def test_the_diagonal_only_adds(seed, n):
    s = torch.tanh(draw(seed, 3, n, n))
    kept = adaptive_contrastive(s, sharpness=8, keep_diagonal=True)
    assert bool((kept >= adaptive_contrastive(s, sharpness=8)).all())
    assert torch.allclose(kept[1], adaptive_contrastive(s[1], sharpness=8, keep_diagonal=True))


def test_refusals():
    with pytest.raises(ArgumentError, match="square matrix of at least two pairs"):
        adaptive_contrastive(torch.zeros(1, 1))
    with pytest.raises(ArgumentError, match="k >= 1"):
        discounted_gain(torch.ones(2), torch.ones(2), 0)
    with pytest.raises(ArgumentError, match="one label a score"):
        average_precision(torch.ones(2), torch.ones(3, dtype=torch.bool))


@given(seeds, sizes)
def test_info_nce_is_between_its_ends(seed, n):
    critic = draw(seed, n, n)
    assert info_nce(critic) >= 0
    assert torch.allclose(info_nce(critic + draw(seed + 1, n, 1)), info_nce(critic))


@given(seeds, st.integers(2, 8))
def test_the_hinge_bounds_the_misordered_weight(seed, n):
    scores, labels = draw(seed, n), Stream(seed).draws().integers("labels", 5, n).double()
    wrong = sum(
        float(labels[i] - labels[j])
        for i in range(n)
        for j in range(n)
        if labels[i] > labels[j] and scores[i] <= scores[j]
    )
    assert adaptive_hinge(scores, labels) >= wrong - 1e-12
    assert adaptive_hinge(labels, labels) == 0


@given(seeds, st.integers(2, 8), st.integers(1, 8))
def test_gains_are_normalised_and_see_the_order_alone(seed, n, k):
    scores, labels = draw(seed, n), Stream(seed).draws().integers("labels", 5, n).double()
    labels[0] = 4.0
    gain = normalised_gain(scores, labels, k)
    assert 0 <= gain <= 1 + 1e-12
    assert normalised_gain(labels, labels, k) == 1
    assert torch.allclose(normalised_gain(3 * scores + 1, labels, k), gain)
    order = sorted(range(n), key=lambda i: -float(scores[i]))[:k]
    by_hand = sum((2 ** float(labels[i]) - 1) / math.log(2 + place) for place, i in enumerate(order))
    assert math.isclose(float(discounted_gain(scores, labels, k)), by_hand, rel_tol=1e-9)


@given(seeds, st.integers(1, 8))
def test_average_precision_by_hand(seed, n):
    scores, relevant = draw(seed, n), Stream(seed).draws().uniform("relevant", n) < 0.5
    relevant[0] = True
    order = sorted(range(n), key=lambda i: -float(scores[i]))
    hits = [bool(relevant[i]) for i in order]
    want = sum(sum(hits[: k + 1]) / (k + 1) for k in range(n) if hits[k]) / sum(hits)
    assert math.isclose(float(average_precision(scores, relevant)), want, rel_tol=1e-9)
    assert average_precision(relevant.double(), relevant) == 1
