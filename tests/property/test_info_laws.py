"""The laws of information, of error and of two Gaussian classes; each test's docstring is the law."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory import info
from mmtheory.rng import Stream
from mmtheory.testing.strategies import covariances, tables

TIGHT = 1e-10


@given(p=tables())
def test_chain_rule(p):
    """I(X1 X2; Y) = I(X1; Y) + I(X2; Y | X1)."""
    both, first = info.information(p.flatten(-3, -2)), info.information(p.sum(-2))
    rest = info.conditional_information(p.permute(0, 2, 3, 1))
    assert float((both - first - rest).abs().max()) <= TIGHT


@given(p=tables(axes=2))
def test_information_is_at_most_either_entropy(p):
    """0 <= I(X; Y) <= min(H(X), H(Y)), and I = H(Y) − H(Y|X)."""
    i, x, y = info.information(p), info.entropy(p.sum(-1)), info.entropy(p.sum(-2))
    assert bool((i >= 0).all())
    assert bool((i <= torch.minimum(x, y) + TIGHT).all())
    assert float((i - y + info.conditional_entropy(p)).abs().max()) <= TIGHT


@given(p=tables(axes=2), seed=st.integers(0, 2**31), out=st.integers(1, 4))
def test_data_processing(p, seed, out):
    """No channel on X raises I(X; Y) or lowers the Bayes error."""
    channel = Stream(seed, ("channel",)).draws().uniform("rows", p.shape[1], out) + 1e-3
    seen = torch.einsum("nxy,xz->nzy", p, channel / channel.sum(1, keepdim=True))
    assert bool((info.information(seen) <= info.information(p) + TIGHT).all())
    assert bool((info.bayes_error(seen) >= info.bayes_error(p) - TIGHT).all())


@given(p=tables(axes=2, most=5))
def test_fano_hellman_raviv_feder_merhav(p):
    """Fano's error <= Bayes error <= Feder and Merhav's <= Hellman and Raviv's; e^{I − H} <= accuracy <= the printed bound."""
    classes = max(p.shape[-1], 2)
    left, error = info.conditional_entropy(p).clamp(min=0), info.bayes_error(p)
    upper = info.feder_merhav_error(left, classes)
    assert bool((info.fano_error(left, classes) <= error + TIGHT).all())
    assert bool((error <= upper + TIGHT).all())
    assert bool((upper <= info.hellman_raviv_error(left) + TIGHT).all())
    label = info.entropy(p.sum(-2))
    bounds = info.accuracy_bounds(label - left, label, classes)
    assert bool((bounds.lower <= 1 - error + TIGHT).all())
    assert bool((1 - error <= bounds.upper + TIGHT).all())
    assert bool((1 - error <= bounds.fano_upper + TIGHT).all())
    assert classes > 2 or bool(bounds.vacuous.all())


@given(p=tables(axes=1, most=6), seed=st.integers(0, 2**31))
def test_divergences(p, seed):
    """Pinsker; TV²/2 <= Hellinger² <= TV; 0 <= JS <= ln 2; all are 0 at equality."""
    q = Stream(seed, ("q",)).draws().uniform("mass", *p.shape) + 1e-3
    q = q / q.sum(-1, keepdim=True)
    kl, tv, h, js = (
        f(p, q) for f in (info.kullback_leibler, info.total_variation, info.squared_hellinger, info.jensen_shannon)
    )
    assert bool((2 * tv**2 <= kl + TIGHT).all())
    assert bool((tv**2 / 2 <= h + TIGHT).all() & (h <= tv + TIGHT).all())
    assert bool((js >= -TIGHT).all() & (js <= math.log(2) + TIGHT).all())
    assert float(info.kullback_leibler(p, p).abs().max()) <= TIGHT


@given(cov=covariances(), seed=st.integers(0, 2**31))
def test_gaussian_information(cov, seed):
    """I = h(A) + h(B) − h(A, B); chain rule; invertible maps of either side change nothing."""
    d = len(cov)
    a, b = [0], list(range(1, d))
    i = info.gaussian_information(cov, a, b)
    parts = info.gaussian_entropy(cov[:1, :1]) + info.gaussian_entropy(cov[1:, 1:]) - info.gaussian_entropy(cov)
    assert abs(float(i - parts)) <= 1e-9
    if d > 2:
        chain = info.gaussian_information(cov, a, b[:1]) + info.gaussian_conditional_information(cov, a, b[1:], b[:1])
        assert abs(float(i - chain)) <= 1e-9
    turn = torch.eye(d, dtype=cov.dtype)
    turn[1:, 1:] += 0.3 * Stream(seed, ("map",)).draws().uniform("m", d - 1, d - 1)
    turn[0, 0] = -3.0
    if abs(float(torch.linalg.det(turn))) > 1e-2:
        assert abs(float(info.gaussian_information(turn @ cov @ turn.mT, a, b) - i)) <= 1e-8


@given(d2=st.floats(0, 30), step=st.floats(1e-3, 5))
def test_lda_information_increases_and_inverts(d2, step):
    """I(D²) is strictly increasing from 0 towards ln 2, and its inverse undoes it."""
    low, high = info.lda_information(d2), info.lda_information(d2 + step)
    assert 0 <= float(low) < float(high) < math.log(2)
    assert abs(float(info.lda_separation(low)) - d2) <= 1e-9 * (1 + math.exp(d2 / 2) * 1e-4)
    assert float(info.lda_error(d2 + step)) < float(info.lda_error(d2))


def test_lda_ends():
    """I(0) = 0 and I(∞) = ln 2."""
    assert float(info.lda_information(0.0)) == 0
    assert math.isclose(float(info.lda_information(1e4)), math.log(2), rel_tol=0, abs_tol=1e-15)


@given(one=st.floats(1e-3, 50), two=st.floats(1e-3, 50), rho=st.floats(-0.99, 0.99))
def test_two_views_are_at_least_the_better_one(one, two, rho):
    """D₁₂² >= max(D₁², D₂²), with equality exactly at ρ = √(min/max)."""
    both = float(info.correlated_strength(one, two, rho))
    assert both >= max(one, two)
    least = math.sqrt(min(one, two) / max(one, two))
    if least < 0.999:
        assert abs(float(info.correlated_strength(one, two, least)) - max(one, two)) <= 1e-12 * max(one, two)
    noise = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    mean = torch.tensor([one, two], dtype=torch.float64).sqrt()
    assert math.isclose(both, float(mean @ torch.linalg.solve(noise, mean)), rel_tol=1e-9)
