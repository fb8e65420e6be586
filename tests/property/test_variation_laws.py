"""Variation of information, the minVI loss and the Gibbs chain of a law's conditionals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory import info
from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream

seeds, sizes = st.integers(0, 2**30), st.integers(2, 5)


def table(seed, name, *shape, zeros=0.0):
    draws = Stream(seed).draws()
    raw = draws.uniform(name, *shape)
    raw = torch.where(draws.uniform(name + " holes", *shape) < zeros, 0.0, raw) + (raw == raw.amax()) * 0.1
    return raw / raw.sum()


@given(seeds, sizes, sizes)
def test_twice_the_likelihood(seed, x, y):
    law, model = table(seed, "law", x, y, zeros=0.3), table(seed, "model", x, y)
    marginals = sum(-(law.sum(k) * model.sum(k).log()).sum() for k in (0, 1))
    assert torch.allclose(
        sum(info.conditional_losses(law, model)) + marginals, 2 * info.joint_loss(law, model), atol=1e-12
    )


@given(seeds, sizes, sizes)
def test_the_loss_is_at_least_the_variation(seed, x, y):
    law, model = table(seed, "law", x, y, zeros=0.3), table(seed, "model", x, y)
    least = info.variation_of_information(law)
    assert sum(info.conditional_losses(law, model)) >= least - 1e-12
    assert torch.allclose(sum(info.conditional_losses(law, law)), least, atol=1e-12)
    entropies = info.entropy(law.sum(0)) + info.entropy(law.sum(1))
    assert torch.allclose(least, entropies - 2 * info.information(law), atol=1e-12)


@given(seeds, st.integers(2, 4))
def test_variation_is_a_metric(seed, k):
    law = table(seed, "three", k, k, k)
    ab, bc, ac = (info.variation_of_information(law.sum(axis)) for axis in (2, 0, 1))
    assert ac <= ab + bc + 1e-12


@given(seeds, sizes, sizes)
def test_the_chain_is_stationary_and_mixes_by_the_squared_correlation(seed, x, y):
    law = table(seed, "law", x, y)
    chain = info.gibbs_chain(law)
    assert torch.allclose(chain.sum(-1), torch.ones(x, dtype=torch.float64))
    assert torch.allclose(law.sum(1) @ chain, law.sum(1), atol=1e-14)
    second = torch.linalg.eigvals(chain).real.sort().values[-2]
    assert torch.allclose(second, info.maximal_correlation(law) ** 2, atol=1e-9)
    assert torch.allclose(info.maximal_correlation(law), info.maximal_correlation(law.T), atol=1e-12)


@given(seeds, st.integers(3, 5))
def test_correlation_is_one_for_blocks_and_none_for_products(seed, k):
    apart = torch.block_diag(table(seed, "one", 2, k), table(seed, "two", k, 2)) / 2
    assert abs(float(info.maximal_correlation(apart)) - 1) < 1e-12
    product = table(seed, "x", k)[:, None] * table(seed, "y", k)
    assert info.maximal_correlation(product) < 1e-7


def test_a_single_symbol_has_no_correlation():
    with pytest.raises(ArgumentError, match="maximal_correlation: expected two symbols"):
        info.maximal_correlation(torch.ones(1, 3))


@given(st.floats(-0.99, 0.99), st.floats(0.1, 10))
def test_gaussian_variation_and_its_stretch(rho, c):
    cov = torch.tensor([[1.0, c * rho], [c * rho, c**2]], dtype=torch.float64)
    one, other = info.gaussian_variation(cov, [0], [1])
    assert torch.allclose(other - one, torch.tensor(c, dtype=torch.float64).log(), atol=1e-9)
