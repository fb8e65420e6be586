"""Laws of the selection worlds and of noncentral chi differences, for every dial."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.info import ChiDifference, normal_softplus
from mmtheory.rng import Stream
from synthetic.strategies import selection_gaussians, selection_tables
from synthetic.worlds import SelectionGaussian


def points(world, seed, n=32):
    draws = Stream(seed).draws()
    return {m: 2 * draws.normal(m, n, world.dim) for m in world.modalities}


@given(world=selection_gaussians(), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_log_odds_is_the_ratio_of_the_class_densities(world, seed):
    x = points(world, seed)
    both = torch.cat([x["a"], x["b"]], -1)
    ratio = torch.zeros(len(both), dtype=torch.float64)
    for sign in (1, -1):
        mean, _ = world.moments(sign)
        centred = both - mean
        ratio -= sign * (centred @ world.precision(sign) * centred).sum(-1) / 2
    torch.testing.assert_close(world.log_odds(x), ratio, rtol=1e-9, atol=1e-8)


@given(world=selection_gaussians(), seed=st.integers(0, 2**32))
@settings(max_examples=60)
def test_one_view_has_the_log_odds_of_its_own_moments(world, seed):
    x = points(world, seed)
    for i, m in enumerate(world.modalities):
        part = slice(i * world.dim, (i + 1) * world.dim)
        ratio = torch.zeros(len(x[m]), dtype=torch.float64)
        for sign in (1, -1):
            mean, cov = world.moments(sign)
            centred = x[m] - mean[part]
            ratio -= sign * (torch.linalg.solve(cov[part, part], centred.T).T * centred).sum(-1) / 2
        torch.testing.assert_close(world.log_odds({m: x[m]}), ratio, rtol=1e-9, atol=1e-8)


@given(world=selection_gaussians(collider=False), seed=st.integers(0, 2**32))
def test_turning_the_label_over_is_reflecting_one_view_and_its_strength(world, seed):
    """−L(a, b; κ₁, κ₂) = L(−a, b; κ₁, −κ₂): the antisymmetry of the posterior."""
    x = points(world, seed)
    turned = replace(world, kappa=(world.kappa[0], -world.kappa[1]))
    torch.testing.assert_close(turned.log_odds({"a": -x["a"], "b": x["b"]}), -world.log_odds(x), rtol=1e-10, atol=1e-10)


@given(world=selection_gaussians(), seed=st.integers(0, 2**32))
def test_without_interaction_the_posterior_is_naive_bayes(world, seed):
    world, x = replace(world, lam=0.0), points(world, seed)
    parts = world.log_odds({"a": x["a"]}) + world.log_odds({"b": x["b"]})
    torch.testing.assert_close(world.log_odds(x), parts, rtol=1e-12, atol=1e-12)


@given(world=selection_gaussians())
def test_precisions_are_positive_definite_with_known_spectrum(world):
    for sign in (1, -1):
        values = torch.linalg.eigvalsh(world.precision(sign))
        expected = torch.tensor([1.0, 1 + 2 * world.lam], dtype=torch.float64).repeat_interleave(world.dim)
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(
            world.moments(sign)[1] @ world.precision(sign),
            torch.eye(2 * world.dim, dtype=torch.float64),
            rtol=0,
            atol=1e-9,
        )


@given(world=selection_gaussians())
@settings(max_examples=20)
def test_routes_agree_and_more_views_tell_more(world):
    risk = {s: world.known("bayes_risk", s) for s in ("", "a", "b", "ab")}
    info = {s: world.known("information", s) for s in ("", "a", "b", "ab")}
    for s in risk:
        for route in world.routes("bayes_risk"):
            assert abs(world.known("bayes_risk", s, route=route).middle - risk[s].middle) < 1e-9
    for one in ("a", "b"):
        assert risk["ab"].low <= risk[one].high
        assert info["ab"].high >= info[one].low
    # Fano, and half the equivocation in bits above the error (Hellman and Raviv).
    left = (math.log(2) - info["ab"].middle) / math.log(2)
    p = min(max(risk["ab"].middle, 1e-300), 0.5)
    assert left <= -(p * math.log2(p) + (1 - p) * math.log2(1 - p)) + 1e-9
    assert p <= left / 2 + 1e-9


@given(world=selection_gaussians())
@settings(max_examples=20)
def test_experts_lose_unless_they_are_all_there(world):
    best = world.cross_entropy()
    for used in ((), ("a",), ("b",), ("inter",), ("a", "b"), ("b", "inter")):
        assert world.cross_entropy(used).high >= best.low
    assert abs(best.middle - (math.log(2) - world.known("information", "ab").middle)) < 1e-9


@given(dim=st.integers(1, 12), steps=st.lists(st.floats(0.01, 50), min_size=2, max_size=4, unique=True))
@settings(max_examples=12)
def test_lam_is_a_dial_of_synergy_alone(dim, steps):
    """§11.13: with κ = 0, each view alone knows nothing, and only the joint risk falls."""
    risks = []
    for lam in sorted(steps):
        world = SelectionGaussian((0.0, 0.0), lam, dim)
        assert world.known("information", "a").high < 1e-12
        assert world.known("bayes_risk", "b").middle == pytest.approx(0.5, abs=1e-12)
        assert world.known("redundancy", "ab").middle == pytest.approx(0.0, abs=1e-9)
        total = world.known("information", "ab").middle
        assert world.known("synergy", "ab").middle == pytest.approx(total, abs=1e-8)
        risks.append(world.known("bayes_risk", "ab").middle)
        assert risks[-1] == pytest.approx(special.fdtrc(dim, dim, 1 + 2 * lam), abs=1e-9)
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(risks))


@given(synergy=st.floats(1e-4, 0.6), dim=st.integers(1, 8))
@settings(max_examples=6)
def test_inverse_design_comes_back(synergy, dim):
    assert SelectionGaussian.from_targets(synergy=synergy, dim=dim).known("synergy", "ab").middle == pytest.approx(
        synergy, abs=1e-7
    )


def test_out_of_reach_is_said():
    with pytest.raises(InfeasibleError):
        SelectionGaussian.from_targets(synergy=0.7)
    with pytest.raises(NotExactError):
        SelectionGaussian(lam=1e-6).known("bayes_risk", "ab")
    with pytest.raises(ArgumentError):
        SelectionGaussian(dim=1)


@given(mean=st.floats(-5, 5), sd=st.floats(0, 6))
def test_normal_softplus_is_antisymmetric_up_to_the_mean(mean, sd):
    """ln(1 + e^{−L}) − ln(1 + e^{L}) = −L."""
    gap = normal_softplus(mean, sd) - normal_softplus(-mean, sd)
    assert gap.middle == pytest.approx(-mean, abs=1e-10)


@given(
    dim=st.integers(1, 9),
    first=st.floats(0.05, 5),
    ratio=st.floats(0.1, 1),
    offset=st.floats(-3, 3),
    one=st.floats(0, 4),
    two=st.floats(0, 4),
)
@settings(max_examples=20)
def test_exchanging_the_chis_turns_the_difference_over(dim, first, ratio, offset, one, two):
    law = ChiDifference(dim, first, first * ratio, offset, one, two)
    back = ChiDifference(dim, first * ratio, first, -offset, two, one)
    assert law.negative().middle + back.negative().middle == pytest.approx(1.0, abs=2e-8)
    mean = first * (dim + one**2) - first * ratio * (dim + two**2) + offset
    assert law.softplus().middle - back.softplus().middle == pytest.approx(-mean, abs=2e-8 * (1 + abs(mean)))


@given(world=selection_tables())
def test_table_posterior_is_the_product_of_its_experts(world):
    logits = sum(world.experts.values())
    law = world.table / world.table.sum(-1, keepdim=True)
    torch.testing.assert_close(logits.softmax(-1), law, rtol=1e-10, atol=1e-12)


@given(world=selection_tables())
def test_table_without_evidence_of_its_own_is_pure_interaction(world):
    bare = replace(world, kappa=(0.0,) * len(world.kappa))
    for m in bare.modalities:
        rest = frozenset(bare.modalities) - {m}
        assert bare.known("information", rest).high < 1e-10
    naive = replace(world, lam=0.0)
    given_label = naive.table / naive.table.sum(tuple(range(len(naive.kappa))), keepdim=True)
    product = torch.ones(())
    for i in range(len(naive.kappa)):
        product = product * given_label.sum([j for j in range(len(naive.kappa)) if j != i], keepdim=True)
    torch.testing.assert_close(given_label, product, rtol=1e-10, atol=1e-12)
