"""The lottery of modality competition (28), its world by both routes, and the networks it speaks of."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError, InfeasibleError
from mmtheory.rng import Stream
from synthetic.claims.huang2022._networks import ClassNets, population, smoothed_relu, start
from synthetic.worlds import Competition
from synthetic.worlds._lottery import head_start, win_probabilities

positive = st.floats(0.2, 5)


@given(st.lists(positive, min_size=1, max_size=8), st.integers(1, 8))
def test_someone_wins_unless_every_neuron_is_dead(starts, neurons):
    p = win_probabilities(torch.tensor(starts, dtype=torch.float64), neurons)
    assert math.isclose(float(p.sum()), 1 - 2.0 ** (-neurons * len(starts)), rel_tol=1e-11)


@given(positive, positive, st.integers(1, 6))
def test_two_modalities_change_places_and_the_stronger_wins_more(one, two, neurons):
    p = win_probabilities(torch.tensor([one, two], dtype=torch.float64), neurons)
    swapped = win_probabilities(torch.tensor([two, one], dtype=torch.float64), neurons)
    assert torch.allclose(p, swapped.flip(0), atol=1e-12)
    more = win_probabilities(torch.tensor([1.1 * one, two], dtype=torch.float64), neurons)
    assert more[0] > p[0]
    assert (
        abs(float(win_probabilities(torch.ones(2, dtype=torch.float64), neurons)[0]) - (1 - 4.0**-neurons) / 2) < 1e-12
    )


def test_the_printed_lottery_deals_out_the_dead_share():
    """theory.md §17 integrates over all t; between that and ours lies half of 4^−m or less."""
    for ratio, printed in ((1.1, 0.631915), (1.3, 0.805782), (2.0, 0.944199)):
        a = head_start(torch.tensor([ratio, 1.0], dtype=torch.float64), torch.ones(2), 3.0)
        ours = float(win_probabilities(a, 5)[0])
        assert 0 < printed - ours < 4.0**-5 / 2


@given(st.floats(0.01, 0.99), st.integers(1, 7), st.floats(2.5, 8))
@settings(max_examples=30)
def test_inverse_design(share, neurons, q):
    low, high = 0.5**neurons * (1 - 0.5**neurons), 1 - 0.5**neurons
    win = low + share * (high - low)
    world = Competition.from_targets(win=win, neurons=neurons, q=q)
    assert math.isclose(world.answers()["win_a"].middle, win, rel_tol=1e-6)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.integers(2, 12))
def test_risks_are_ordered(shares, classes):
    world = Competition(strength=(1.0,) * len(shares), mu=tuple(shares), classes=classes)
    known = world.answers()
    alone = [known[f"unimodal_risk_{m}"].middle for m in world.modalities]
    assert known["recovered_risk"].middle <= min(alone) + 1e-12
    assert known["joint_risk"].middle <= max(alone) + 1e-9
    assert world.known("bayes_risk", world.modalities).low <= known["recovered_risk"].high


@given(st.integers(0, 2**20))
@settings(max_examples=10)
def test_the_flow_is_the_gradient_of_the_cross_entropy(seed):
    world = Competition(strength=(1.3, 0.7), mu=(0.2, 0.4), classes=3, neurons=4, sigma0=1.0)
    nets = start(world, Stream(seed), 2, population(world))
    weight = nets.weight.clone().requires_grad_()
    heard = smoothed_relu(weight * torch.tensor([[1.3], [0.7]], dtype=torch.float64), world)[0].sum(-1)
    loss = 0.0
    for shown, chance in (((1.0, 1.0), 0.48), ((1.0, 0.0), 0.32), ((0.0, 1.0), 0.12)):
        loss = loss - chance * (heard * torch.tensor(shown)).sum(-1).log_softmax(-1)[:, 0].sum()
    (gradient,) = torch.autograd.grad(loss, weight)
    moved = nets.step().weight - nets.weight
    clock = moved.abs().amax((1, 2, 3), keepdim=True) / gradient.abs().amax((1, 2, 3), keepdim=True)
    assert torch.allclose(moved, -clock * gradient, atol=1e-12)


def test_what_is_not_memorised_teaches_the_loser_later():
    """Joint training alone does not lose a modality for good: samples insufficient for the winner still teach the other."""
    world = Competition(classes=2, neurons=6, sigma0=0.03)
    fresh = start(world, Stream(0), 60, population(world))
    memorised, _ = fresh.until_learnt()
    lost = memorised.trained(300).learnt().double().mean()
    kept = fresh.trained(600).learnt().double().mean()
    assert lost < 0.65
    assert kept > 0.9


def test_a_dead_class_is_guessed_and_a_learnt_one_known():
    world = Competition(classes=4, neurons=1)
    weight = torch.zeros(2, 4, 2, 1, dtype=torch.float64)
    weight[1, 0] = 2.0
    risk = ClassNets(world, weight, population(world).expand(2, -1)).risk()
    assert torch.allclose(risk, torch.tensor([0.75, 0.03 * 0.75], dtype=torch.float64))


@pytest.mark.parametrize(
    "dials", [{"strength": (0.0, 1.0)}, {"mu": (1.1, 0.0)}, {"q": 2.0}, {"neurons": 0}, {"classes": 1}, {"sigma0": 0.0}]
)
def test_dials_outside_their_domain_are_refused(dials):
    with pytest.raises(ArgumentError, match="competition: expected"):
        Competition(**dials)


def test_an_impossible_win_is_refused_with_the_interval():
    with pytest.raises(InfeasibleError, match=r"\(0.25, 0.5\)"):
        Competition.from_targets(win=0.8, neurons=1)
