"""Verified numbers of the selection, connection and gated worlds; bits where the source prints bits."""

import math

import pytest

from synthetic.worlds import ConnectionLinear, ConnectionSine, Gated, SelectionGaussian

BIT = math.log(2)


@pytest.mark.parametrize(("dim", "accuracy"), [(1, 0.666667), (2, 0.75), (3, 0.804499), (8, 0.929443)])
def test_accuracy_of_pure_interaction_by_dimension(dim, accuracy):
    world = SelectionGaussian((0.0, 0.0), 1.0, dim)
    for route in world.routes("bayes_risk"):
        assert 1 - world.known("bayes_risk", "ab", route=route).middle == pytest.approx(accuracy, abs=5e-7)


@pytest.mark.parametrize(
    ("lam", "accuracy", "synergy"), [(0.3, 0.6456, 0.1077), (1.0, 0.8045, 0.4232), (3.0, 0.9279, 0.7666)]
)
def test_pure_interaction_by_strength(lam, accuracy, synergy):
    world = SelectionGaussian((0.0, 0.0), lam, 3)
    assert 1 - world.known("bayes_risk", "ab").middle == pytest.approx(accuracy, abs=1e-4)
    assert world.known("synergy", "ab").middle / BIT == pytest.approx(synergy, abs=1e-4)


@pytest.mark.parametrize(
    ("kappa", "lam", "rounded", "exact"),
    [
        ((0.0, 0.0), 1.0, (0.576, 1.000, 0.576), (0.576858, 1.0, 0.576858)),
        ((0.7, 0.4), 0.0, (0.642, 0.642, 1.000), (0.643103, 0.643103, 1.0)),
        ((0.7, 0.4), 1.0, (0.444, 0.739, 0.541), (0.446916, 0.741604, 0.541052)),
        ((0.7, 0.4), 4.0, (0.141, 0.776, 0.152), (0.141070, 0.778334, 0.151117)),
    ],
)
def test_cross_entropies_of_the_parts(kappa, lam, rounded, exact):
    """The specification's numbers were sampled (within 0.003 bit); these are the integrals."""
    world = SelectionGaussian(kappa, lam, 3)
    found = [world.cross_entropy(used).middle / BIT for used in (("a", "b", "inter"), ("a", "b"), ("inter",))]
    assert found == pytest.approx(exact, abs=1e-6)
    assert found == pytest.approx(rounded, abs=3.5e-3)


def test_collider_bias():
    world = SelectionGaussian(collider=True)
    slope, constant = world.unimodal("a")
    assert slope.tolist() == pytest.approx([1.4, 0.4, 0.0])
    assert constant == 0
    assert world.answers()["unimodal bias of a"].middle == pytest.approx(0.4)


@pytest.mark.parametrize(("n", "m", "one", "two"), [(60, 400, 3.277, 0.130), (200, 4000, 0.392, 0.0246)])
def test_linear_connection(n, m, one, two):
    """σ² + σ_w²‖β‖² = 1.5566 and σ_w² = 0.08 give the specification's four numbers."""
    world = ConnectionLinear(n=n, m=m, sigma_w=math.sqrt(0.08), strength=math.sqrt(0.5566 / 0.08))
    assert world.unimodal_excess().middle == pytest.approx(one, abs=5e-4)
    assert world.two_stage_excess().middle == pytest.approx(two, rel=2e-3)


def test_sine_connection():
    found = ConnectionSine(bits=8, n=4).answers()
    assert found["unimodal risk"].middle == pytest.approx(0.5 * (7 / 8) ** 4, abs=1e-12)
    assert found["multimodal risk"].middle == 0
    assert found["unseen digits"].middle == pytest.approx(8 * (7 / 8) ** 4, abs=1e-11)


def test_gated_pair():
    """π = .6, ε = .1: P_a = .6·.9 + .2 = .74; both: ties ½, so 1 − .164."""
    world = Gated()
    assert world.known("bayes_risk", "a").middle == pytest.approx(0.26, abs=1e-12)
    assert world.known("bayes_risk", "ab").middle == pytest.approx(0.164, abs=1e-12)
    moments = world.shapley_moments()
    assert moments["mean a"].middle == pytest.approx(0.836, abs=1e-12)
    assert moments["variance a-b"].middle == pytest.approx(0.1848, abs=1e-12)


def test_faithful_when_reliable():
    """ε = 0: one reliable modality suffices, so the risk is ½·P(none reliable)."""
    world = Gated((0.5, 0.8, 0.3), (0.0, 0.0, 0.0))
    assert world.known("bayes_risk", "abc").middle == pytest.approx(0.5 * 0.5 * 0.2 * 0.7, abs=1e-12)


def test_majority_of_plain_copies():
    for count, error in ((2, 0.2), (3, 0.104), (5, 0.05792), (8, 0.033344)):
        world = Gated((1.0,) * count, (0.2,) * count)
        assert world.known("bayes_risk", world.modalities).middle == pytest.approx(error, abs=1e-6)
