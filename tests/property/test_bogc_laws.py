"""Laws of the evidence algebra behind BOGC, and of the method itself."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import BOGC, Uniform
from mmtheory.methods.bogc import binomial_weights, dirichlet_weights, reduced_binomial, reduced_dirichlet
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

seeds = st.integers(0, 2**31)
rows = st.integers(2, 6)


def variances(seed, m, d=5):
    return torch.exp(3 * Stream(seed).child("variance").draws().normal("v", m, d))


@settings(max_examples=50, deadline=None)
@given(seed=seeds, m=rows, prior=st.floats(0.01, 100.0))
def test_weights_are_a_convex_combination_that_prefers_certainty(seed, m, prior):
    v = variances(seed, m)
    for w in (binomial_weights(v, prior), dirichlet_weights(v)):
        assert (w >= 0).all()
        assert (w.sum(0) - 1).abs().max() <= 1e-12
    w = binomial_weights(v, prior)
    assert w.argsort(0).flip(0).equal(v.argsort(0))
    more = v.clone()
    more[0] *= 2
    assert (binomial_weights(more, prior)[0] < w[0]).all()
    order = torch.randperm(m, generator=Stream(seed).torch())
    assert (binomial_weights(v[order], prior) - w[order]).abs().max() <= 1e-14


@settings(max_examples=50, deadline=None)
@given(seed=seeds, m=rows)
def test_equal_certainty_and_no_prior_weigh_alike(seed, m):
    v = variances(seed, 1).expand(m, -1)
    for w in (binomial_weights(v), dirichlet_weights(v), binomial_weights(variances(seed, m), 0.0)):
        assert (w - 1 / m).abs().max() <= 1e-14


@settings(max_examples=50, deadline=None)
@given(seed=seeds, m=rows)
def test_noise_falls_with_the_prior_from_uniform_to_inverse_variance(seed, m):
    v = variances(seed, m)
    ladder = [0.0, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e9]
    noise = torch.stack([(binomial_weights(v, w) ** 2 * v).sum(0) for w in ladder])
    assert (noise[1:] <= noise[:-1] * (1 + 1e-12)).all()
    assert (noise[0] - v.sum(0) / m**2).abs().max() <= 1e-12 * noise[0].max()
    assert (noise[-1] * (1 / v).sum(0) - 1).abs().max() <= 1e-6


@settings(max_examples=50, deadline=None)
@given(seed=seeds)
def test_the_reduced_rule_is_commutative_associative_and_conserves_mass(seed):
    opinions = []
    for e in 1 / variances(seed, 3):
        total = (e + 1).sum(-1, keepdim=True)
        opinions.append((e / total, len(e) / total))
    (b1, u1), (b2, u2), (b3, u3) = opinions
    here, there = reduced_dirichlet(b1, u1, b2, u2), reduced_dirichlet(b2, u2, b1, u1)
    assert (here[0] - there[0]).abs().max() <= 1e-15
    left = reduced_dirichlet(*here, b3, u3)
    right = reduced_dirichlet(b1, u1, *reduced_dirichlet(b2, u2, b3, u3))
    assert (left[0] - right[0]).abs().max() <= 1e-12
    assert (left[0].sum() + left[1] - 1).abs() <= 1e-12
    assert (left[1] <= torch.stack([u1, u2, u3]).min()).all()
    vacuous = reduced_dirichlet(b1, u1, torch.zeros_like(b1), torch.ones_like(u1))
    assert torch.equal(vacuous[0], b1)
    assert (reduced_binomial(torch.stack([u1, u2])) - (1 - u1 * u2)).abs().max() <= 1e-15


def run(method, epochs=3, scale=None):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS["concat"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(2))
    data = Batch({m: draws.normal(m, 24, 4) for m in "abc"}, draws.integers("y", 3, 24))
    config = Settings(epochs=epochs, batch_size=8, lr=0.05)
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(2)).run().flat.data


def test_without_prior_it_is_uniform_multi_loss():
    assert (run(BOGC(0.0)) - run(Uniform())).abs().max() <= 1e-12
    assert (run(BOGC(1.0)) - run(Uniform())).abs().max() > 1e-6


def test_a_prior_for_each_replicate():
    mixed = run(BOGC(torch.tensor([0.0, 2.0], dtype=torch.float64)))
    assert (mixed[0] - run(BOGC(0.0))[0]).abs().max() <= 1e-12
    assert (mixed[1] - run(BOGC(2.0))[1]).abs().max() <= 1e-12


@pytest.mark.parametrize("options", [{"variant": "dirichlet"}, {"variance": "laplace"}, {"damped": True}, {"normalise": False}, {"variant": "dirichlet", "damped": True}])  # fmt: skip
def test_every_option_acts_and_stays_finite(options):
    found = run(BOGC(**options))
    assert found.isfinite().all()
    assert (found - run(BOGC())).abs().max() > 1e-9


@pytest.mark.parametrize("options", [{"prior": -1.0}, {"variant": "C"}, {"beta": 1.0}, {"tau": 0.0}, {"reduce": "max"}])
def test_bad_settings_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        BOGC(**options)
