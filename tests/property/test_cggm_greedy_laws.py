"""Laws of CGGM's factors and of the greedy remedy."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import CGGM, Greedy, Joint
from mmtheory.methods.cggm import magnitude
from mmtheory.methods.greedy import decades
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, ORDER = 3, "abc"


def trainer(method, epochs=3, order=ORDER, **options):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in order}
        head = FUSIONS["concat"](dict.fromkeys(order, 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    data = Batch({m: draws.normal(m, 24, 4) for m in order}, draws.integers("y", 3, 24))
    config = Settings(epochs=epochs, batch_size=8, lr=0.05, **options)
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(R))


def gains(seed, m):
    draws = Stream(seed).draws(range(4))
    return {f"m{i}": draws.normal(f"m{i}") for i in range(m)}


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(2, 6), rho=st.floats(0.1, 3.0), most=st.floats(0.5, 4.0))
def test_factors_stay_in_their_range_and_sum_to_rho_m_minus_one_where_no_bound_is_met(seed, m, rho, most):
    d = gains(seed, m)
    b = torch.stack(list(magnitude(d, rho=rho, most=most).values()))
    assert ((b >= 0) & (b <= most)).all()
    raw = torch.stack([rho * (1 - v / sum(d.values())) for v in d.values()])
    inside = ((raw >= 0) & (raw <= most)).all(0)
    assert (b.sum(0) - rho * (m - 1))[inside].abs().sum() <= 1e-9
    assert (b - raw.clamp(0, most)).abs().max() <= 1e-9


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(2, 6))
def test_with_gains_of_one_sign_the_slowest_classifier_gets_the_largest_factor(seed, m):
    d = {k: v.abs() for k, v in gains(seed, m).items()}
    stacked, b = torch.stack(list(d.values())), torch.stack(list(magnitude(d).values()))
    assert torch.equal(b.argmax(0), stacked.argmin(0))
    assert torch.equal(b.argmin(0), stacked.argmax(0))


def test_no_gain_at_all_scales_all_alike():
    d = {m: torch.zeros(2) for m in ORDER}
    assert all((v == 2 / 3).all() for v in magnitude(d).values())


def test_the_direction_term_has_a_gradient():
    """The released code's has none: with and without it training would be the same."""
    there, gone = trainer(CGGM(0.0, lam=1.0)).run(), trainer(CGGM(0.0, lam=0.0)).run()
    assert ((there.flat.data - gone.flat.data).abs().amax(-1) > 1e-6).all()


def test_classifiers_learn_and_teach_the_encoders_nothing():
    with_heads, plain = trainer(CGGM(0.0, lam=0.0)), trainer(Joint())
    start = with_heads.flat.data.clone()
    with_heads.run()
    plain.run()
    width = plain.flat.data.shape[-1]
    assert torch.equal(with_heads.flat.data[:, :width], plain.flat.data)
    assert ((with_heads.flat.data - start)[:, width:].abs().amax(-1) > 1e-3).all()


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(2, 6), c=st.floats(1e-3, 1e3))
def test_leads_sum_to_zero_and_do_not_hear_a_common_factor(seed, m, c):
    speeds = {k: v.abs() + 0.1 for k, v in gains(seed, m).items()}
    d = decades(speeds)
    assert torch.stack(list(d.values())).sum(0).abs().max() <= 1e-9
    scaled = decades({k: c * v for k, v in speeds.items()})
    assert max((scaled[k] - d[k]).abs().max() for k in d) <= 1e-9
    assert torch.equal(torch.stack(list(d.values())).argmax(0), torch.stack(list(speeds.values())).argmax(0))


def test_a_remedy_lasts_its_window_and_concerns_one_modality_at_a_time():
    method = Greedy(0.0, window=2, start=0)
    t = trainer(method, epochs=1)
    open_now = []
    moved = method.on_gradients

    def watch(step, gradients):
        open_now.append(torch.stack([left.clone() for left in method.left.values()]))
        return moved(step, gradients)

    method.on_gradients = watch
    t.run(4)
    left = torch.stack(open_now)  # [steps, modalities, replicates], at the time of the forward pass
    assert ((left > 0).sum(1) <= 1).all()
    assert left[0].sum() == 0
    assert (left.amax(1)[1:] > 0).all()
    # A window of two runs 2, 1 and the next opens at once, epsilon being zero and somebody always ahead.
    assert left.amax(1)[1:, 0].tolist() == [2.0, 1.0] * 5 + [2.0]


def test_a_quiet_modality_says_the_same_of_every_sample_and_gets_no_gradient():
    method = Greedy(0.0, window=10**6, start=0)
    t = trainer(method, epochs=1, weight_decay=0.0, momentum=0.0)
    t.run(1)
    quiet = {m: left > 0 for m, left in method.left.items()}
    before = t.flat.data.clone()
    t.run(1)
    for m, q in quiet.items():
        encoder = slice(t.flat.columns[m].start, t.flat.columns[m].stop)
        still = (t.flat.data[:, encoder] == before[:, encoder]).all(-1)
        assert torch.equal(still, q)
    assert sum(q.int() for q in quiet.values()).tolist() == [1] * R


def test_an_epsilon_for_each_replicate():
    eps = torch.tensor([0.0, torch.inf, 0.0], dtype=torch.float64)
    found, joint = trainer(Greedy(eps, start=0)).run().flat.data, trainer(Joint()).run().flat.data
    assert (found == joint).all(-1).tolist() == [False, True, False]


@pytest.mark.parametrize("make", [lambda: CGGM(2.0), lambda: CGGM(most=0.0), lambda: CGGM(memory=1.0), lambda: Greedy(-1.0), lambda: Greedy(window=0), lambda: Greedy(momentum=0.0)])  # fmt: skip
def test_bad_settings_are_refused(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()


@pytest.mark.parametrize("method", [CGGM(), Greedy()])
def test_one_modality_has_nothing_to_be_balanced(method):
    with pytest.raises(ArgumentError, match="at least two modalities"):
        trainer(method, order="a")
