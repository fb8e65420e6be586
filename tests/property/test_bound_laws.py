"""Laws of complexities and bounds (theory §13, items 17 to 19): closed forms against enumeration, duality and convex programs."""

import math

import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.bounds import (
    ConvexClass,
    ball_supremum,
    binary_divergence,
    deep_bound,
    every_sign,
    expected_absolute_sum,
    gaussian_divergence,
    gibbs_risk,
    group_supremum,
    informative_size,
    inverse_divergence,
    khintchine_bracket,
    labelling_complexity,
    least_squares,
    linear_class,
    lipschitz_class,
    massart,
    pac_bayes,
    product_supremum,
    quality_slack,
    risk_difference_slack,
    sampled,
    uniform_deviation,
)
from mmtheory.rng import Stream

seeds = st.integers(0, 2**32)
sizes = st.integers(2, 7)


def points(seed, *shape):
    return Stream(seed).draws().normal("x", *shape)


def exactly(supremum, m):
    """E_σ by all 2^m signs."""
    return supremum(every_sign(m)).mean(-1)


@pytest.mark.parametrize("n", range(1, 13))
def test_expected_absolute_sum_is_the_brute_force(n):
    assert expected_absolute_sum(torch.tensor([n])).item() == pytest.approx(every_sign(n).sum(-1).abs().mean().item())


@given(st.integers(1, 5000))
def test_expected_absolute_sum_recurs(k):
    even, before, after = (expected_absolute_sum(torch.tensor([n])).item() for n in (2 * k, 2 * k - 1, 2 * k + 1))
    assert even == pytest.approx(before, rel=1e-9)
    assert after == pytest.approx(even * (2 * k + 1) / (2 * k), rel=1e-9)


def test_golden_expected_absolute_sums():
    assert expected_absolute_sum(torch.arange(1, 9)).tolist() == [1, 1, 1.5, 1.5, 1.875, 1.875, 2.1875, 2.1875]


@given(seeds, st.integers(1, 9), st.integers(1, 4))
def test_labellings_of_cells_are_enumerated(seed, m, cells):
    cell = Stream(seed).draws().integers("c", cells, m)
    member = torch.nn.functional.one_hot(cell, cells).double()
    brute = (every_sign(m) @ member).abs().sum(-1).mean() / m
    assert labelling_complexity(member.sum(0)).item() == pytest.approx(brute.item(), abs=1e-12)


@given(seeds, sizes, st.integers(1, 3), st.integers(1, 3))
def test_late_fusion_splits_for_every_sign(seed, m, d, e):
    parts = (points(seed, m, d), points(seed + 1, m, e))
    signs = every_sign(m)
    split = ball_supremum(parts[0], signs, 1.5) + ball_supremum(parts[1], signs, 0.5)
    assert torch.allclose(product_supremum(parts, signs, (1.5, 0.5)), split, rtol=0, atol=1e-12)
    assert bool((group_supremum(parts, signs, 1.0) <= product_supremum(parts, signs, (1.0, 1.0)) + 1e-12).all())


@given(seeds, sizes, st.integers(1, 4))
def test_the_l2_ball_lies_in_khintchines_bracket(seed, m, d):
    x = points(seed, m, d)
    value = exactly(lambda s: ball_supremum(x, s, 2.0), m)
    low, high = khintchine_bracket(x, 2.0)
    assert low - 1e-12 <= value <= high + 1e-12


@given(seeds, sizes, st.integers(1, 3), st.floats(-3, 3))
def test_complexity_ignores_a_fixed_function_and_scales(seed, m, d, factor):
    x, fixed = points(seed, m, d), points(seed + 1, m)
    base = exactly(lambda s: ball_supremum(x, s, 1.0), m)
    moved = exactly(lambda s: ball_supremum(x, s, 1.0) + s @ fixed / m, m)
    assert moved.item() == pytest.approx(base.item(), abs=1e-12)
    assert exactly(lambda s: ball_supremum(factor * x, s, 1.0), m).item() == pytest.approx(
        abs(factor) * base.item(), abs=1e-12
    )


@given(seeds, sizes)
def test_complexity_grows_with_the_class(seed, m):
    x = points(seed, m, 3)
    small, large = (exactly(lambda s, r=r: ball_supremum(x, s, r), m) for r in (1.0, 1.5))
    assert small <= large
    assert exactly(lambda s: ball_supremum(x, s, 1.0, norm="l1"), m) <= small + 1e-12


@given(seeds, st.integers(2, 8), st.integers(1, 6))
def test_a_finite_class_and_its_convex_hull_have_one_complexity_below_massart(seed, m, size):
    values = points(seed, size, m)
    signs = every_sign(m)
    finite = (signs @ values.mT / m).amax(-1).mean()
    mixtures = torch.cat([values, values.mean(0, keepdim=True)])
    assert (signs @ mixtures.mT / m).amax(-1).mean().item() == pytest.approx(finite.item(), abs=1e-12)
    assert finite <= massart(values) + 1e-12


@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_convex_programs_find_the_dual_norms(norm):
    import cvxpy

    x, signs = points(3, 5, 3), every_sign(5)[::4]
    found = linear_class(x, lambda w: [cvxpy.norm(w, 1 if norm == "l1" else 2) <= 1.3])(signs)
    assert torch.allclose(found, ball_supremum(x, signs, 1.3, norm=norm), atol=1e-6)


def test_convex_programs_find_the_group_balls_supremum():
    import cvxpy

    parts, signs = (points(3, 4, 2), points(4, 4, 3)), every_sign(4)
    found = linear_class(torch.cat(parts, -1), lambda w: [cvxpy.norm(w[:2]) + cvxpy.norm(w[2:]) <= 0.7])(signs)
    assert torch.allclose(found, group_supremum(parts, signs, 0.7), atol=1e-6)


def test_lipschitz_functions_are_bounded_by_their_bound_and_by_their_slope():
    x = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    signs = every_sign(3)
    free = lipschitz_class(x, 1e6, 1.0)(signs)
    assert torch.allclose(free, torch.ones(8, dtype=torch.float64), atol=1e-6)
    flat = lipschitz_class(x, 0.0, 1.0)(signs)
    assert torch.allclose(flat, signs.sum(-1).abs() / 3, atol=1e-6)


def test_an_unbounded_class_is_refused():
    with pytest.raises(Exception, match="expected a bounded"):
        ConvexClass(1, lambda t: [t >= 0]).supremum(torch.ones(1, 1))


@given(seeds)
def test_random_signs_bracket_the_enumerated_complexity(seed):
    x = points(11, 8, 2)
    truth = exactly(lambda s: ball_supremum(x, s, 1.0), 8).item()
    envelope = torch.linalg.vector_norm(x, dim=-1)
    assert truth in sampled(lambda s: ball_supremum(x, s, 1.0), envelope, draws=200, alpha=1e-6, stream=Stream(seed))


@given(seeds, st.integers(1, 4))
def test_the_deep_bound_covers_linear_nets(seed, depth):
    x = points(seed, 6, 3)
    assert exactly(lambda s: ball_supremum(x, s, 2.0), 6) <= deep_bound(x, 2.0, depth) + 1e-12


@given(st.floats(0, 1), st.integers(1, 10**6), st.floats(1e-4, 0.5))
def test_sharp_forms_are_below_the_papers(complexity, m, delta):
    """With L = 1 and the loss class at most half the prediction class (0–1 loss of ±1 outputs)."""
    paper = risk_difference_slack(complexity, m, delta, variant="paper")
    sharp = risk_difference_slack(complexity / 2, m, delta, variant="sharp")
    assert sharp.value <= paper.value
    assert (
        quality_slack(complexity / 2, m, delta, variant="sharp").value
        <= quality_slack(complexity, m, delta, variant="paper").value
    )
    assert paper.failure == delta / 2
    assert sharp.failure == delta


def test_the_papers_slack_is_two_uniform_deviations_of_its_own_constants():
    """T1's slack is exactly 2·(4L·R + 2C/√m + C√(2 ln(2/δ)/m)) (theory §1.6)."""
    r, m, delta = 0.3, 100, 0.1
    one = 4 * r + 2 / math.sqrt(m) + math.sqrt(2 * math.log(2 / delta) / m)
    assert risk_difference_slack(r, m, delta, variant="paper").value == pytest.approx(2 * one)


@given(st.floats(0.01, 2), st.integers(1, 10**5), st.floats(0.01, 1))
def test_at_the_informative_size_the_slack_is_gamma(a, m, gamma):
    from mmtheory.bounds import Slack

    size = informative_size(Slack(a / math.sqrt(m), 0.1), m, gamma)
    assert a / math.sqrt(size) == pytest.approx(gamma)


@given(st.floats(0, 1), st.floats(0, 5))
def test_the_divergence_is_inverted_from_above(p, budget):
    q = inverse_divergence(torch.tensor(p, dtype=torch.float64), torch.tensor(budget, dtype=torch.float64))
    assert p <= q.item() <= 1
    if q < 1:
        assert binary_divergence(torch.tensor(p, dtype=torch.float64), q).item() >= budget - 1e-9


@given(st.floats(0, 1), st.floats(0, 50), st.integers(8, 10**6))
def test_pac_bayes_is_below_its_relaxation(risk, divergence, n):
    tight, loose = (
        pac_bayes(
            torch.tensor(risk, dtype=torch.float64), torch.tensor(divergence, dtype=torch.float64), n, 0.05, relaxed=r
        )
        for r in (False, True)
    )
    assert risk - 1e-12 <= tight.item() <= min(1.0, loose.item()) + 1e-9


@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_the_price_of_a_modality_is_its_own_divergence(seed, d, e):
    w = points(seed, d + e)
    zero = torch.zeros(d + e, dtype=torch.float64)
    whole = gaussian_divergence(w, zero, 0.7, 1.1)
    parts = gaussian_divergence(w[:d], zero[:d], 0.7, 1.1) + gaussian_divergence(w[d:], zero[d:], 0.7, 1.1)
    assert whole.item() == pytest.approx(parts.item(), rel=1e-12)
    assert whole.item() >= 0


def test_gibbs_risk_is_what_random_weights_give():
    """Bounded draws: 4·10⁵ of them miss by 0.006 with probability below 1e-6 (Hoeffding)."""
    x, y, w = points(1, 5, 3), torch.tensor([1.0, -1, 1, 1, -1], dtype=torch.float64), points(2, 3)
    draws = w + 0.8 * points(3, 400_000, 3)
    wrong = (y * (draws @ x.mT) < 0).double().mean().item()
    assert gibbs_risk(w, x, y, 0.8).item() == pytest.approx(wrong, abs=0.006)


@given(seeds, st.integers(1, 6), st.integers(0, 20))
def test_least_squares_agrees_with_scipy_and_certifies(seed, d, extra):
    x, y = points(seed, 3, d + 4 + extra, d), points(seed + 1, 3, d + 4 + extra)
    fit = least_squares(x, y)
    assert bool((fit.certificate < 1e-16).all())
    for r in range(3):
        peer = scipy.linalg.lstsq(x[r].numpy(), y[r].numpy())[0]
        assert fit.weights[r].tolist() == pytest.approx(peer.tolist(), rel=1e-6, abs=1e-8)


def test_a_rank_deficient_design_is_not_certified():
    x = torch.ones(6, 2, dtype=torch.float64)
    assert least_squares(x, torch.ones(6, dtype=torch.float64)).certificate.isinf()


def test_uniform_deviation_of_nothing_is_hoeffding():
    assert uniform_deviation(0.0, 200, 0.05) == pytest.approx(math.sqrt(math.log(20) / 400))
