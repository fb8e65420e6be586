"""Laws of the connection worlds and of the connection bound."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mmtheory.bounds import connection_bound, finite_class_complexity
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.rng import Stream
from synthetic.strategies import connections
from synthetic.worlds import ConnectionLinear, ConnectionSine


@given(world=connections())
def test_more_samples_never_hurt_either_learner(world):
    for dial in ("n", "m"):
        more = replace(world, **{dial: getattr(world, dial) + 1})
        assert more.unimodal_excess().low <= world.unimodal_excess().high
        assert more.two_stage_excess().low <= world.two_stage_excess().high
    assert world.two_stage_excess(labelled=float("inf")).low <= world.two_stage_excess().high


@given(world=connections())
def test_ratio_goes_to_its_limit_and_to_one_without_heterogeneity(world):
    ideal = replace(world, sigma_w=1e-9, m=10**12)
    ratio = ideal.answers()["ratio"].middle
    assert ratio == pytest.approx(ideal.limit_ratio().middle, rel=1e-6)
    assert replace(world, q=world.d).limit_ratio().middle == pytest.approx(1.0, abs=1e-9)


@given(world=connections())
def test_b_screens_the_target_off(world):
    """a – b – y is a Markov chain: nothing is unique to a, nothing is synergy."""
    assert world.known("information", "ab").middle == pytest.approx(world.known("information", "b").middle, abs=1e-12)
    atoms = [
        world.known("redundancy", "ab"),
        world.known("unique", "a"),
        world.known("unique", "b"),
        world.known("synergy", "ab"),
    ]
    assert sum(a.middle for a in atoms) == pytest.approx(world.known("information", "ab").middle, abs=1e-12)
    assert atoms[1].middle == atoms[3].middle == 0


@given(world=connections(), scale=st.floats(0.1, 10))
def test_units_of_the_target_do_not_matter(world, scale):
    """y → c·y multiplies every risk by c² and leaves the ratio as it was."""
    other = replace(world, sigma=scale * world.sigma, strength=scale * world.strength)
    assert other.unimodal_excess().middle == pytest.approx(scale**2 * world.unimodal_excess().middle, rel=1e-9)
    assert other.answers()["ratio"].middle == pytest.approx(world.answers()["ratio"].middle, rel=1e-9)


@given(ratio=st.floats(15, 24))
def test_inverse_design_comes_back(ratio):
    try:
        world = ConnectionLinear.from_targets(ratio=ratio)
    except InfeasibleError:
        assume(False)
    assert world.answers()["ratio"].middle == pytest.approx(ratio, rel=1e-9)


def test_outside_validity_is_said():
    with pytest.raises(InfeasibleError):
        ConnectionLinear.from_targets(ratio=1e6)
    with pytest.raises(NotExactError):
        ConnectionLinear(n=41).unimodal_excess()
    with pytest.raises(NotExactError):
        ConnectionLinear(m=41).two_stage_excess()
    with pytest.raises(NotExactError):
        ConnectionLinear(sigma=0.0).known("redundancy", "ab")
    with pytest.raises(ArgumentError):
        ConnectionLinear(d=3, q=4)


@given(bits=st.integers(1, 40), seed=st.integers(0, 2**32), data=st.data())
def test_sine_reads_the_digits_of_the_code(bits, seed, data):
    code = data.draw(st.integers(0, 2**bits - 1))
    world = ConnectionSine(bits=bits, code=code)
    batch = world.sample(50, stream=Stream(seed))
    assert (torch.sin(1 / batch.x["b"][:, 0]) < 0).long().equal(batch.y)
    assert (batch.x["b"] == world.theta * batch.x["a"]).all()
    assert (batch.x["b"] / batch.x["a"] == world.theta).all()


@given(bits=st.integers(1, 8))
def test_sine_class_shatters_its_points(bits):
    world = ConnectionSine(bits=bits)
    place = 0.5 ** torch.arange(1, bits + 1, dtype=torch.float64)
    patterns = torch.sin(1 / (world.grid()[:, None] * place)) < 0
    assert len({tuple(row) for row in patterns.tolist()}) == 2**bits


@given(bits=st.integers(2, 20), noise=st.floats(0, 0.4), n=st.integers(0, 60))
def test_unimodal_risk_lies_between_bayes_and_guessing_and_falls(bits, noise, n):
    now, later = (ConnectionSine(bits=bits, label_noise=noise, n=k).answers()["unimodal risk"] for k in (n, n + 2))
    assert noise - 1e-9 <= now.middle <= 0.5 + 1e-9
    assert later.middle <= now.middle + 1e-9


@given(scale=st.floats(0, 1), n=st.integers(1, 100), m=st.integers(1, 100), delta=st.floats(0.001, 0.5))
def test_bound_is_affine_in_its_slack_and_falls_with_samples(scale, n, m, delta):
    def bound(n, m, scale):
        return connection_bound(
            0.2,
            0.1,
            predictor_complexity=finite_class_complexity(4, n, 1.0),
            connection_complexity=finite_class_complexity(9, m, 2.0),
            labelled=n,
            unlabelled=m,
            loss_range=1.0,
            connection_range=2.0,
            lipschitz=0.5,
            delta=delta,
            scale=scale,
        )

    whole = bound(n, m, 1.0)
    assert bound(n, m, scale).value == pytest.approx(0.25 + scale * whole.slack, abs=1e-12)
    assert max(bound(n + 1, m, 1.0).value, bound(n, m + 1, 1.0).value) < whole.value


def test_a_truncated_distance_must_reach_the_loss():
    with pytest.raises(ArgumentError):
        connection_bound(
            0.0,
            0.0,
            predictor_complexity=0.0,
            connection_complexity=0.0,
            labelled=1,
            unlabelled=1,
            loss_range=1.0,
            connection_range=1.0,
            lipschitz=0.5,
            delta=0.1,
        )


@given(seed=st.integers(0, 2**32), size=st.integers(1, 6), n=st.integers(1, 8))
def test_massart_covers_the_exact_complexity(seed, size, n):
    """All 2^n sign patterns against the bound, for functions with values in [0, 1]."""
    values = Stream(seed).draws().uniform("f", size, n)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * n).reshape(-1, n)
    exact = (signs @ values.T).amax(-1).mean() / n
    assert exact.item() <= finite_class_complexity(size, n, 1.0) + 1e-12
