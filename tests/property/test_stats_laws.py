"""Laws of the confidence tools (theory §13, items 20, 21, 38): every interval inverts what it says it inverts."""

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from statsmodels.stats.multitest import multipletests

from mmtheory.rng import Stream
from mmtheory.stats import (
    Relation,
    Verdict,
    betting_interval,
    betting_process,
    clopper_pearson,
    decide,
    dkw,
    empirical_bernstein,
    exponent,
    gate,
    gate_power,
    gate_size,
    hoeffding,
    holm,
    slope,
    student,
    theil_sen,
)
from mmtheory.testing.strategies import intervals

alphas = st.floats(1e-8, 0.5)
counts = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
finite = st.floats(-1e6, 1e6)


@given(counts, alphas, alphas)
def test_clopper_pearson_contains_the_rate_and_nests_in_alpha(count, alpha, other):
    k, n = count
    wide, narrow = (clopper_pearson(k, n, alpha=a) for a in sorted((alpha, other)))
    assert k / n in narrow
    assert wide.low <= narrow.low + 1e-12
    assert narrow.high <= wide.high + 1e-12


@given(counts, alphas)
def test_clopper_pearson_inverts_the_binomial_tails(count, alpha):
    k, n = count
    side = clopper_pearson(k, n, alpha=alpha)
    if k > 0:
        assert scipy_stats.binom.sf(k - 1, n, side.low) == pytest.approx(alpha / 2, rel=1e-6)
    if k < n:
        assert scipy_stats.binom.cdf(k, n, side.high) == pytest.approx(alpha / 2, rel=1e-6)


@given(counts, alphas)
def test_clopper_pearson_agrees_with_scipy(count, alpha):
    k, n = count
    peer = scipy_stats.binomtest(k, n).proportion_ci(1 - alpha, method="exact")
    ours = clopper_pearson(k, n, alpha=alpha)
    assert (ours.low, ours.high) == pytest.approx((peer.low, peer.high), abs=1e-7)


@given(st.integers(50, 5000), alphas)
def test_bernstein_beats_hoeffding_when_the_variance_is_small(n, alpha):
    constant = torch.full((n,), 0.5, dtype=torch.float64)
    lower_order = 14 * math.log(4 / alpha) / (3 * (n - 1))
    assert empirical_bernstein(constant, alpha=alpha).width <= hoeffding(0.5, n, alpha=alpha).width + lower_order


@given(st.integers(1, 3000), st.floats(0.01, 0.5), alphas)
def test_the_gate_never_exceeds_its_size(n, delta, alpha):
    assert gate_size(n, delta, alpha) <= alpha
    k = gate(n, delta, alpha)
    assert scipy_stats.binom.sf(k - 1, n, delta) <= alpha * (1 + 1e-9)
    assert k == 0 or scipy_stats.binom.sf(k - 2, n, delta) > alpha * (1 - 1e-9)


@given(st.integers(1, 2000), st.floats(0.01, 0.4), alphas)
def test_the_gate_is_monotone(n, delta, alpha):
    assert gate(n + 1, delta, alpha) >= gate(n, delta, alpha)
    assert gate(n, min(0.5, delta * 1.1), alpha) >= gate(n, delta, alpha)
    assert gate(n, delta, alpha / 2) >= gate(n, delta, alpha)


@pytest.mark.parametrize(
    ("n", "delta", "found"),
    [
        (1000, 0.05, [68, 74, 78]),
        (1000, 0.1, [124, 131, 138]),
        (200, 0.05, [19, 22, 24]),
        (5000, 0.05, [287, 300, 310]),
    ],
)
def test_golden_gates(n, delta, found):
    assert [gate(n, delta, a) for a in (1e-2, 1e-3, 1e-4)] == found


@pytest.mark.parametrize(("rate", "power"), [(0.09, 0.97), (0.08, 0.77), (0.075, 0.57)])
def test_golden_powers(rate, power):
    assert gate_power(1000, 0.05, 1e-3, rate) == pytest.approx(power, abs=0.006)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_is_monotone_and_between_p_and_bonferroni(p):
    adjusted = holm(p)
    assert all(a <= b <= min(1.0, a * len(p)) + 1e-12 for a, b in zip(p, adjusted, strict=True))
    order = sorted(range(len(p)), key=p.__getitem__)
    assert all(adjusted[i] <= adjusted[j] for i, j in itertools.pairwise(order))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_agrees_with_statsmodels(p):
    assert holm(p) == pytest.approx(list(multipletests(p, method="holm")[1]), abs=1e-12)


@given(st.floats(-5, 5), st.floats(-5, 5), st.integers(3, 30))
def test_slopes_of_a_line_are_exact(a, b, n):
    x = torch.arange(n, dtype=torch.float64)
    assert slope(x, a + b * x, alpha=0.01).middle == pytest.approx(b, abs=1e-9)
    assert theil_sen(x, a + b * x) == pytest.approx(b, abs=1e-9)


@given(st.floats(-3, 3), st.integers(4, 20))
def test_exponents_of_a_power_are_exact(b, n):
    x = torch.arange(1, n + 1, dtype=torch.float64)
    assert b == pytest.approx(exponent(x, 2 * x**b, alpha=0.01).middle, abs=1e-9)


@given(intervals(), intervals(), st.sampled_from(Relation), st.floats(0, 10), st.data())
def test_a_decision_is_right_about_every_pair_of_points(left, right, relation, margin, data):
    a, b = data.draw(st.floats(left.low, left.high)), data.draw(st.floats(right.low, right.high))
    true = {
        Relation.AT_MOST: a - b <= margin, Relation.AT_LEAST: a - b >= -margin, Relation.EQUAL: abs(a - b) <= margin,
    }[relation]  # fmt: skip
    verdict = decide(left, relation, right, margin=margin)
    if verdict is not Verdict.INCONCLUSIVE and abs(abs(a - b) - margin) > 1e-9 * (1 + abs(a) + abs(b)):
        assert true == (verdict is Verdict.HOLDS)


@given(intervals(), intervals(), st.floats(-10, 10), st.data())
def test_interval_arithmetic_contains_the_arithmetic_of_points(x, y, c, data):
    a, b = data.draw(st.floats(x.low, x.high)), data.draw(st.floats(y.low, y.high))
    slack = 1e-9 * (1 + abs(a) + abs(b)) * (1 + abs(c))
    for side, value in ((x + y, a + b), (x - y, a - b), (x * c, a * c), (-x, -a)):
        assert side.low - slack <= value <= side.high + slack


@given(st.integers(0, 2**32), st.floats(0.05, 0.95))
def test_wealth_never_goes_negative_and_starts_near_one(seed, mean):
    draws = Stream(seed).draws().uniform("x", 200)
    wealth = betting_process(draws, mean)
    assert bool((wealth >= 0).all())
    assert float(wealth[0]) <= 1.5 + 1e-9 or mean < 0.5


def test_wealth_is_a_fair_game_on_the_boundary():
    """At the true mean the expected wealth is one; 4.9 standard errors are a false alarm of 1e-6."""
    draws = (Stream(5).draws().uniform("x", 40000, 30) < 0.3).double()
    last = betting_process(draws, 0.3)[:, -1]
    assert 1.0 in student(last, alpha=1e-6)


def test_betting_may_be_looked_at_always():
    """A process with the boundary mean ever reaches 1/α in at most a share α of 2000 runs (one-sided 1e-6)."""
    draws = (Stream(6).draws().uniform("x", 2000, 400) < 0.2).double()
    hits = int((betting_process(draws, 0.2).max(-1).values >= 20).sum())
    assert hits < gate(2000, 0.05, 1e-6)


@given(st.integers(0, 2**32))
def test_the_betting_interval_is_an_interval_about_the_mean(seed):
    draws = (Stream(seed).draws().uniform("x", 60) < 0.4).double()
    side = betting_interval(draws, alpha=1e-6, grid=50)
    assert 0.4 in side


def test_a_bound_with_half_the_allowed_failures_passes_and_one_with_thrice_is_rejected():
    """Meta-test of protocol H at N = 1000 (each side errs with probability below 1e-6)."""
    k = gate(1000, 0.05, 1e-3)
    assert scipy_stats.binom.sf(k - 1, 1000, 0.025) < 1e-6
    assert gate_power(1000, 0.05, 1e-3, 0.15) > 1 - 1e-6
    failures = Stream(3).draws().uniform("f", 1000)
    assert int((failures < 0.025).sum()) < k <= int((failures < 0.15).sum())


def test_dkw_covers():
    """The empirical distribution of 400 uniforms leaves the band in at most a share alpha of 3000 runs."""
    u = Stream(8).draws().uniform("u", 3000, 400).sort(-1).values
    grid = torch.arange(1, 401, dtype=torch.float64) / 400
    distance = torch.maximum((u - grid).abs(), (u - grid + 1 / 400).abs()).amax(-1)
    assert int((distance > dkw(400, alpha=0.05)).sum()) < gate(3000, 0.05, 1e-6)
