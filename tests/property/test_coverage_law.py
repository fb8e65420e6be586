"""The coverage law of equally likely features against the exact expectations of the saturation world."""

import math

from hypothesis import given
from hypothesis import strategies as st

from synthetic.claims.du2023.coverage_law import COVERAGE_LAW, CoverageLaw
from synthetic.worlds import Saturation


def stated(q, n, modalities, law="exact"):
    width = math.ceil(math.log(1e-13 / n) / math.log1p(-q))
    world = Saturation(presence=((q,) * width,) * modalities, n=n)
    claim = CoverageLaw(
        **{k: getattr(COVERAGE_LAW, k) for k in ("id", "source", "statement", "world", "budgets")}, law=law
    )
    return world, claim.analytic(world)


@given(st.floats(0.1, 0.4), st.integers(20, 200), st.integers(2, 4))
def test_the_closed_law_is_the_exact_expectation(q, n, modalities):
    world, sides = stated(q, n, modalities)
    joint = world.expected_joint().middle * 2 * (n + 1)
    ensemble = world.expected_ensemble().middle * 2 * (n + 1) ** modalities
    assert math.isclose(sides["joint risk × 2(n+1)"].middle, joint, rel_tol=1e-5)
    assert math.isclose(
        sides["UME risk × 2(n+1)^M"].middle, ensemble, rel_tol=1e-4, abs_tol=1e-9 * (n + 1) ** modalities
    )
    mean = sum(1 - (1 - (1 - q) ** k) ** n for k in range(2000))
    assert math.isclose(sides["features × λ"].middle, -mean * math.log1p(-q), rel_tol=1e-5)


@given(st.floats(0.1, 0.6), st.integers(20, 200))
def test_the_mean_number_of_features_in_the_place_of_their_law_is_low_by_more_than_e_to_the_gamma(q, n):
    _, exact = stated(q, n, 2)
    _, plugged = stated(q, n, 2, law="mean features")
    ratio = exact["joint risk × 2(n+1)"].middle / plugged["joint risk × 2(n+1)"].middle
    assert ratio > math.exp(0.577) * n / (n + 1)


def test_risk_falls_with_the_features_share_at_equal_sample_size():
    risks = [stated(q, 300, 2)[0].expected_joint().middle for q in (0.2, 0.35, 0.5)]
    assert [round(1e3 * r, 3) for r in risks] == [1.489, 1.35, 1.198]
