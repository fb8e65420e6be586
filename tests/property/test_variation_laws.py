"""Variation of information, the minVI loss, the Gibbs chain, and the exact oracle of the multimodal RBM."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory import info
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.models.rbm import MultimodalRBM, states
from mmtheory.rng import Stream

seeds, sizes = st.integers(0, 2**30), st.integers(2, 5)


def table(seed, name, *shape, zeros=0.0):
    draws = Stream(seed).draws()
    raw = draws.uniform(name, *shape)
    raw = torch.where(draws.uniform(name + " holes", *shape) < zeros, 0.0, raw) + (raw == raw.amax()) * 0.1
    return raw / raw.sum()


def machine(seed, dx=3, dy=2, hidden=4, batch=()):
    draws = Stream(seed).draws(range(batch[0]) if batch else None)
    sizes = {"w": (dx, hidden), "v": (dy, hidden), "a": (dx,), "c": (dy,), "b": (hidden,)}
    return MultimodalRBM(**{name: draws.normal(name, *shape) for name, shape in sizes.items()})


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


@given(seeds)
@settings(max_examples=20)
def test_the_law_is_the_sum_over_hidden_states(seed):
    m = machine(seed)
    xs, ys, hs = states(3), states(2), states(4)
    weight = torch.zeros(8, 4, dtype=torch.float64)
    for (i, x), (j, y), h in itertools.product(enumerate(xs), enumerate(ys), hs):
        weight[i, j] += torch.exp(x @ m.w @ h + y @ m.v @ h + m.a @ x + m.c @ y + m.b @ h)
    assert torch.allclose(m.log_law(), (weight / weight.sum()).log(), atol=1e-12)
    energy = m.free_energy(xs.repeat_interleave(4, 0), ys.repeat(8, 1)).reshape(8, 4)
    assert torch.allclose(m.log_law(), (-energy).flatten().log_softmax(0).reshape(8, 4), atol=1e-12)
    assert torch.allclose(m.swapped().log_law(), m.log_law().T, atol=1e-12)


@given(seeds)
@settings(max_examples=10)
def test_the_likelihood_gradient_is_a_difference_of_correlations(seed):
    m, law = machine(seed), table(seed, "law", 8, 4)
    w = m.w.clone().requires_grad_()
    live = MultimodalRBM(w, m.v, m.a, m.c, m.b)
    (gradient,) = torch.autograd.grad(info.joint_loss(law, live.log_law().exp()), w)
    xs, ys = states(3), states(2)
    on = torch.sigmoid((xs @ m.w)[:, None] + (ys @ m.v)[None] + m.b)
    gap = m.log_law().exp() - law
    assert torch.allclose(gradient, torch.einsum("xy,xi,xyk->ik", gap, xs, on), atol=1e-12)


@given(seeds)
@settings(max_examples=10)
def test_stacked_machines_are_machines(seed):
    stacked = machine(seed, batch=(3,))
    one = MultimodalRBM(*(getattr(stacked, k)[1] for k in "wvacb"))
    assert torch.allclose(stacked.log_law()[1], one.log_law(), atol=1e-14)
    x = states(3).expand(3, -1, -1)
    assert torch.allclose(stacked.mean_field(x, sweeps=5)[1], one.mean_field(states(3), sweeps=5), atol=1e-14)


def test_without_hidden_units_on_y_the_mean_field_is_exact():
    m = machine(0)
    lone = MultimodalRBM(m.w, torch.zeros_like(m.v), m.a, m.c, m.b)
    assert torch.allclose(lone.mean_field(states(3), sweeps=3), torch.sigmoid(m.c).expand(8, 2))


def test_refusals():
    m = machine(0)
    with pytest.raises(ArgumentError, match=r"visibles x in \[0, 1\]"):
        m.free_energy(states(3) * 2, states(3)[:, :2])
    with pytest.raises(ArgumentError, match="sweeps >= 0"):
        m.mean_field(states(3), sweeps=-1)
    with pytest.raises(ArgumentError, match="rbm: expected w and v"):
        MultimodalRBM(m.w, m.v, m.c, m.a, m.b)
    with pytest.raises(NotExactError, match="at most 16 visible units"):
        machine(0, dx=9, dy=8).log_law()


@given(st.floats(-0.99, 0.99), st.floats(0.1, 10))
def test_gaussian_variation_and_its_stretch(rho, c):
    cov = torch.tensor([[1.0, c * rho], [c * rho, c**2]], dtype=torch.float64)
    one, other = info.gaussian_variation(cov, [0], [1])
    assert torch.allclose(other - one, torch.tensor(c, dtype=torch.float64).log(), atol=1e-9)
