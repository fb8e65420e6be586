"""Samples with modalities missing: presence at its rate, and the Bayes answer from what is there has the mixture's risk.

Each file-wide check errs with probability below 1e-6 (Hoeffding for losses in [0, 1], Student for squared errors)."""

from dataclasses import replace

import pytest
import torch

from mmtheory.errors import NotExactError
from mmtheory.info import subsets
from mmtheory.rng import Stream
from mmtheory.stats import student
from synthetic.strategies import COMPLETE
from synthetic.worlds import WORLDS, Incomplete

N, ALPHA = 40_000, 1e-8
NAMES = sorted(n for n, k in WORLDS.items() if issubclass(k, Incomplete) and n != "two-dials")


@pytest.mark.parametrize("name", NAMES)
def test_frequencies_and_bayes_risk(name):
    rates = (0.3, 0.1)
    world = replace(WORLDS[name](), missingness=rates)
    batch = world.sample(N, stream=Stream(7, ("missing", name)))
    for m, rate in zip("ab", rates, strict=True):
        assert rate in student((~batch.present[m]).double(), alpha=ALPHA)
    both = (~batch.present["a"] & ~batch.present["b"]).double()
    assert rates[0] * rates[1] in student(both, alpha=ALPHA)
    belief = world.belief_present(batch)
    loss = (belief - batch.y) ** 2 if world.task == "regression" else (belief.argmax(-1) != batch.y).double()
    assert world.known("bayes_risk", "ab").middle in student(loss, alpha=ALPHA)
    if world.task == "classification":
        likelihood = belief.gather(-1, batch.y[:, None])[:, 0]
        entropy = world.known("posterior_entropy", "ab").middle
        assert entropy in student(-likelihood.log(), alpha=ALPHA)
        assert torch.allclose(belief.sum(-1), torch.ones(N, dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_the_posterior_never_looks_at_what_is_absent(name):
    world = replace(WORLDS[name](), missingness=0.5)
    batch = world.sample(200, stream=Stream(8))
    noise = {
        m: torch.where(batch.present[m].reshape(-1, *(1,) * (v.dim() - 1)), v, torch.ones_like(v))
        for m, v in batch.x.items()
    }
    assert torch.equal(world.belief_present(batch), world.belief_present(replace(batch, x=noise)))
    absent = ~batch.present["a"] & ~batch.present["b"]
    assert bool((world.belief_present(batch)[absent] == world.prior()).all())


def test_a_world_without_a_posterior_says_so():
    world = WORLDS["two-dials"](missingness=0.5)
    with pytest.raises(NotExactError, match="one task a stream"):
        world.belief_present(world.sample(20, stream=Stream(1)))


def test_every_incomplete_world_has_a_strategy():
    assert set(COMPLETE) == set(WORLDS)
    assert all(len(list(subsets(WORLDS[n]().modalities))) == 3 for n in NAMES)
