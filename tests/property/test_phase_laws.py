"""Laws of the phases of deep linear fusion (26, 27) and an independent solver of its dynamics."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from mmtheory.rng import Stream
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, descend, flow
from synthetic.worlds.phase_laws import Moments, scalar_moments

kappas = st.floats(1.01, 4.0)
rhos = st.floats(-0.95, 0.95)
sizes = st.floats(0.003, 0.1)


@given(kappas, rhos)
def test_late_ratio_is_above_one_and_even_in_rho(kappa: float, rho: float):
    one, other = (float(scalar_moments(kappa, r).late_ratio()) for r in (rho, -rho))
    assert one >= 1
    assert math.isclose(one, other, rel_tol=1e-9)


@given(kappas)
def test_ratio_grows_without_bound_at_full_correlation(kappa: float):
    ratios = scalar_moments(kappa, torch.tensor([0.9, 0.99, 0.999, 0.9999])).late_ratio()
    assert bool((ratios.diff() > 0).all())
    assert float(ratios[-1] - 1) > 50 * float(ratios[0] - 1)


@given(kappas, rhos, sizes, st.integers(3, 6))
def test_ratio_rises_with_the_fusion_layer_and_is_free_of_u0_at_the_last(
    kappa: float, rho: float, u0: float, depth: int
):
    moments = scalar_moments(kappa, rho)
    assert moments.ratio(depth, depth, u0).equal(moments.ratio(depth, depth, u0 / 2))
    ratios = [float(moments.ratio(depth, f, u0)) for f in range(1, depth)]
    assert ratios[0] == 1
    assert all(a <= b for a, b in itertools.pairwise(ratios))


@given(st.floats(1.1, 3.0), st.floats(-0.8, 0.8))
def test_exchanging_the_modalities_exchanges_who_is_first(kappa: float, rho: float):
    here = DeepLinear(kappa=kappa, rho=rho)
    there = DeepLinear(kappa=1 / kappa, rho=rho)
    one, other = float(here.moments.late_ratio()), float(there.moments.swapped().late_ratio())
    assert math.isclose(one, other, rel_tol=1e-9)
    assert bool(here.moments.first())
    assert not bool(there.moments.first())


@settings(max_examples=15)
@given(st.integers(2, 4), st.data(), st.integers(0, 2**20))
def test_balancedness_drifts_with_the_square_of_the_rate(depth: int, data: st.DataObject, seed: int):
    fusion_layer = data.draw(st.integers(2, depth))
    net = FusionNet(depth, fusion_layer, 3, (2, 1))
    moments = _population(seed)
    start = 0.5 * net.random(1.0, Stream(seed).draws())

    def imbalance(state: torch.Tensor) -> torch.Tensor:
        below, above = net.matrices(state)[:2]
        return above.mT @ above - below @ below.mT

    drifts = [
        (imbalance(descend(net, moments, start, rate=rate, steps=round(0.4 / rate))) - imbalance(start)).abs().max()
        for rate in (0.004, 0.002)
    ]
    assert float(drifts[1]) <= 0.6 * float(drifts[0]) + 1e-12
    exact = flow(net, moments, start, until=0.4, tolerance=1e-10).state
    assert float((imbalance(exact) - imbalance(start)).abs().max()) < 1e-7


@settings(max_examples=6)
@given(st.integers(2, 4), st.data(), st.integers(0, 2**20))
def test_flow_is_what_scipy_integrates(depth: int, data: st.DataObject, seed: int):
    net = FusionNet(depth, data.draw(st.integers(1, depth)), 2, (2, 1))
    moments = _population(seed)
    start = 0.6 * net.random(1.0, Stream(seed).draws())

    def loss(state: torch.Tensor) -> torch.Tensor:
        maps = net.maps(state)
        return (maps @ moments.covariance @ maps) / 2 - moments.cross @ maps

    def field(_t: float, y: np.ndarray) -> np.ndarray:
        return -torch.func.grad(loss)(torch.from_numpy(y.copy())).numpy()

    oracle = solve_ivp(field, (0, 3.0), start.numpy(), method="DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    found = flow(net, moments, start, until=3.0, tolerance=1e-9).state.numpy()
    assert np.allclose(found, oracle, rtol=1e-6, atol=1e-7)


def test_late_passage_without_correlation_is_the_logistic_time():
    # ρ = 0, two layers: W = u², Ẇ = 2W(s − σ²W), so W reaches half of s/σ² at ln(s/(σ²u₀²) − 1)/(2s).
    answers = DeepLinear(kappa=2.0, rho=0.0, u0=0.01).answers()
    assert math.log(1e4 - 1) / 8 in answers["passage_time_a"]
    assert math.log(1e4 - 1) / 2 in answers["passage_time_b"]
    net, moments = FusionNet(2, 2, 3, (1, 1)), scalar_moments(2.0, 0.0)
    times = flow(net, moments, net.aligned(0.01, moments), marks=torch.tensor([0.5, 0.5]), tolerance=1e-10).times
    assert math.isclose(float(times[1]), math.log(1e4 - 1) / 2, rel_tol=1e-7)


def test_networks_in_a_stack_move_as_each_alone():
    net, moments = FusionNet(3, 2, 2, (2, 1)), _population(3)
    starts = net.random(0.3, Stream(1).draws(range(4)))
    marks = torch.full((2,), 0.05, dtype=torch.float64)
    stacked = flow(net, moments, starts, marks=marks, until=20.0, tolerance=1e-9)
    for i in range(4):
        single = flow(net, moments, starts[i], marks=marks, until=20.0, tolerance=1e-9)
        assert torch.allclose(stacked.times[i], single.times, rtol=1e-10)


def _population(seed: int) -> Moments:
    factor = Stream(seed).draws().normal("factor", 6, 3) / 6**0.5
    covariance = factor.mT @ factor + 0.1 * torch.eye(3, dtype=torch.float64)
    return Moments(covariance, covariance @ torch.tensor([1.0, -0.5, 0.7], dtype=torch.float64), (2, 1))
