"""Numbers that never move: decompositions of the gates (in bits), two Gaussian classes, majority of channels."""

import math

import pytest
import torch

from mmtheory import info
from synthetic.worlds import Table

BIT = math.log(2)
AND = 0.31127812445913283  # 3/4 log2(4/3), bit


def gates():
    h = float(info.binary_entropy(0.1)) / BIT
    one, two = (1 - float(info.binary_entropy(e)) / BIT for e in (0.1, 0.2))
    both = float(info.information(Table("bsc", flip=(0.1, 0.2)).marginal("ab"))) / BIT
    return {
        "and": (Table("and"), (AND, 0, 0, 0.5)),
        "or": (Table("or"), (AND, 0, 0, 0.5)),
        "xor": (Table("xor"), (0, 0, 0, 1)),
        "unq": (Table("unq"), (0, 1, 0, 0)),
        "sum": (Table("sum"), (0.5, 0, 0, 1)),
        "rdn": (Table("rdn"), (1, 0, 0, 0)),
        "composite": (Table("composite", bits=(1, 1, 1, 1)), (1, 1, 1, 1)),
        "composite 2,0,1,0": (Table("composite", bits=(2, 0, 1, 0)), (2, 0, 1, 0)),
        "noisy xor": (Table("xor", label_noise=0.1), (0, 0, 0, 1 - h)),
        "two channels": (Table("bsc", flip=(0.1, 0.2)), (two, one - two, 0, both - one)),
    }


@pytest.mark.parametrize("route", ["cone", "newton"])
@pytest.mark.parametrize("name", sorted(gates()))
def test_gates(name, route):
    world, atoms = gates()[name]
    found = info.pid(world.table, route=route)
    assert float(found.gap) <= 1e-8
    assert found.atoms().tolist() == pytest.approx([a * BIT for a in atoms], rel=0, abs=2e-8)


@pytest.mark.parametrize(
    ("rule", "atoms"), [("and", (AND, 0.5, 0, 0)), ("or", (AND, 0.5, 0, 0)), ("xor", (0, 1, 0, 0))]
)
def test_a_source_that_sees_both_bits(rule, atoms):
    """X1 = (a, b), X2 = b: the synergy of the gate becomes unique to X1."""
    table = torch.zeros(4, 2, 2, dtype=torch.float64)
    for a in range(2):
        for b in range(2):
            y = {"and": a & b, "or": a | b, "xor": a ^ b}[rule]
            table[2 * a + b, b, y] = 0.25
    assert info.pid(table).atoms().tolist() == pytest.approx([v * BIT for v in atoms], rel=0, abs=2e-8)


@pytest.mark.parametrize(
    ("d2", "bits", "error"),
    [
        (0.36, 0.22108398, 0.27425312),
        (0.64, 0.35270057, 0.21185540),
        (1.0, 0.48594415, 0.15865525),
        (2.0, 0.72145159, 0.07864960),
        (4.0, 0.91282229, 0.02275013),
    ],
)
def test_two_gaussian_classes(d2, bits, error):
    assert float(info.lda_information(d2)) / BIT == pytest.approx(bits, abs=5e-9)
    assert float(info.lda_error(d2)) == pytest.approx(error, abs=5e-9)


@pytest.mark.parametrize(
    ("rho", "both", "synergy"),
    [(-0.5, 1.973333, 0.364269), (0.0, 1.0, 0.133244), (0.5, 0.693333, 0.022021), (0.75, 0.64, 0.0)],
)
def test_noise_correlation_moves_synergy_alone(rho, both, synergy):
    assert float(info.correlated_strength(0.64, 0.36, rho)) == pytest.approx(both, abs=5e-7)
    atoms = (info.lda_decomposition(0.64, 0.36, rho).atoms() / BIT).tolist()
    assert atoms == pytest.approx([0.221084, 0.131617, 0.0, synergy], abs=5e-7)


def test_gaussian_views_in_bits():
    """snr 3 and 1, label noise .1: .826038, .437235, .937235 bit."""
    for snr, bits in ((3.0, 0.826038), (1.0, 0.437235), (4.0, 0.937235)):
        cov = torch.tensor([[1.1, snr**0.5], [snr**0.5, 1 + snr]], dtype=torch.float64)
        assert float(info.gaussian_information(cov, [0], [1])) / BIT == pytest.approx(bits, abs=5e-7)


def test_sum_of_two_latents_has_half_a_bit_of_redundancy():
    cov = torch.tensor([[1.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    one = info.gaussian_information(cov, [0], [1])
    found = info.mmi_decomposition(one, one, math.inf)
    assert (found.redundancy / BIT).item() == pytest.approx(0.5, abs=1e-14)


@pytest.mark.parametrize(("count", "error"), [(2, 0.2), (3, 0.104), (5, 0.05792), (8, 0.033344)])
def test_majority_of_channels(count, error):
    world = Table("bsc", flip=(0.2,) * count)
    assert world.known("bayes_risk", world.modalities).middle == pytest.approx(error, abs=1e-12)


def test_xor_has_synergy_that_agreement_cannot_see():
    bounds = info.synergy_bounds(Table("xor").table)
    assert float(bounds.agreement) == pytest.approx(0, abs=1e-7)
    assert float(bounds.trivial_upper) == pytest.approx(BIT, abs=1e-7)


def test_a_source_labelled_the_right_way_round():
    """Y ≈ X1 is unique to X1; released code reports it for X2."""
    found = info.pid(Table("bsc", flip=(0.01, 0.5)).table)
    own = BIT - float(info.binary_entropy(0.01))
    assert own / BIT == pytest.approx(0.919, abs=5e-4)
    assert found.atoms().tolist() == pytest.approx([0, own, 0, 0], abs=1e-8)
