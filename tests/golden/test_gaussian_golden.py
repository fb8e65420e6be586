"""Golden numbers of the Gaussian worlds (theory §17), to the digits printed; information there is in bits."""

import math

import pytest

from mmtheory.info import lda_error, lda_information
from synthetic.worlds import GaussianDiscriminant, GaussianProbit, GaussianRegression, LatentRegression

BIT = math.log(2)
REGRESSION = GaussianRegression(snr=(3.0, 1.0), dims=(2, 10), label_noise=0.1)


def digits(value, printed):
    """Whether a number, rounded to the digits of its printed text, is that text."""
    places = len(printed.partition(".")[2])
    return f"{value:.{places}f}" == f"{float(printed):.{places}f}"


@pytest.mark.parametrize(
    ("d2", "bits", "error"),
    [
        (0.36, "0.22108398", "0.27425312"),
        (0.64, "0.35270057", "0.21185540"),
        (1.0, "0.48594415", "0.15865525"),
        (2.0, "0.72145159", "0.07864960"),
        (4.0, "0.91282229", "0.02275013"),
    ],
)
def test_information_and_error_of_a_separation(d2, bits, error):
    world = GaussianDiscriminant(d2=(d2,))
    for route in world.routes("information"):
        assert digits(world.known("information", "a", route=route).middle / BIT, bits)
    for route in world.routes("bayes_risk"):
        assert digits(world.known("bayes_risk", "a", route=route).middle, error)
    assert digits(float(lda_information(d2)) / BIT, bits)
    assert digits(float(lda_error(d2)), error)


@pytest.mark.parametrize(
    ("rho", "joint", "synergy"),
    [(-0.5, "1.973333", "0.364269"), (0.0, "1", "0.133244"), (0.5, "0.693333", "0.022021"), (0.75, "0.64", "0.000000")],
)
def test_decomposition_along_the_noise_correlation(rho, joint, synergy):
    world = GaussianDiscriminant(d2=(0.64, 0.36), rho=rho)
    assert digits(world.separation2("ab"), joint)
    assert digits(world.known("redundancy", "ab").middle / BIT, "0.221084")
    assert digits(world.known("unique", "a").middle / BIT, "0.131617")
    assert digits(world.known("unique", "b").middle / BIT, "0.000000")
    assert digits(world.known("synergy", "ab").middle / BIT, synergy)


@pytest.mark.parametrize(
    ("given", "risk", "bits"), [("a", "0.35", "0.826038"), ("b", "0.60", "0.437235"), ("ab", "0.30", "0.937235")]
)
def test_regression(given, risk, bits):
    for route in REGRESSION.routes("bayes_risk"):
        assert digits(REGRESSION.known("bayes_risk", given, route=route).middle, risk)
    for route in REGRESSION.routes("information"):
        assert digits(REGRESSION.known("information", given, route=route).middle / BIT, bits)


def test_least_squares():
    law = REGRESSION.law
    assert law.ols_crossover("a", "ab") == pytest.approx(73, abs=1e-9)
    printed = {(40, "a"): "0.368919", (40, "ab"): "0.433333", (200, "a"): "0.353553", (200, "ab"): "0.319251"}
    for (n, given), risk in printed.items():
        assert digits(law.ols_risk(n, given).middle, risk)


@pytest.mark.parametrize(
    ("given", "rho", "error", "entropy"),
    [
        ("a", "0.825723", "0.190768", "0.579485"),
        ("b", "0.674200", "0.264489", "0.752088"),
        ("ab", "0.852803", "0.174901", "0.537429"),
    ],
)
def test_probit(given, rho, error, entropy):
    world = GaussianProbit(snr=(3.0, 1.0), dims=(2, 10), label_noise=0.1)
    assert digits(world.correlation(given).middle, rho)
    for route in world.routes("bayes_risk"):
        assert digits(world.known("bayes_risk", given, route=route).middle, error)
    for route in world.routes("posterior_entropy"):
        assert digits(world.known("posterior_entropy", given, route=route).middle / BIT, entropy)


@pytest.mark.parametrize(
    ("given", "ratio", "weight"),
    [("a", "0.032461", "1286.3986"), ("b", "0.589189", "7.6298"), ("ab", "0.188824", "38.7710")],
)
def test_gradient_blending(given, ratio, weight):
    blend = REGRESSION.law.blending(60, given)
    assert digits(blend.ratio, ratio)
    assert digits(blend.weight, weight)


@pytest.mark.parametrize(
    ("n", "curve", "best"),
    [
        (60, ("0.8869", "0.8233", "0.8429", "0.9469", "1.1977", "1.8773", "6.337"), 2),
        (100, ("0.8341", "0.7157", "0.6600", "0.6403", "0.6472", "0.6794", "0.7419", "0.8486"), 4),
    ],
)
def test_exchangeable_u_shape(n, curve, best):
    world = GaussianRegression(snr=(0.5,) * 8, dims=(8,), label_noise=0.1)
    found = [world.law.ols_risk(n, world.modalities[:m]).middle for m in range(1, len(curve) + 1)]
    assert all(digits(v, text) for v, text in zip(found, curve, strict=True))
    assert 1 + found.index(min(found)) == best


def test_many_samples_pay_for_every_modality():
    world = GaussianRegression(snr=(0.5,) * 8, dims=(8,), label_noise=0.1)
    found = [world.law.ols_risk(400, world.modalities[:m]).middle for m in range(1, 9)]
    assert found == sorted(found, reverse=True)
    assert digits(found[-1], "0.3573")


def test_plug_in_discriminant():
    """Theory §11.3: D² = .64 on 2 coordinates alone, or with .25 on 60 more."""
    world = GaussianDiscriminant(d2=(0.64, 0.25), dims=(2, 60))
    printed = {(100, "a"): "0.2137", (100, "ab"): "0.2344", (200, "a"): "0.2128", (200, "ab"): "0.2080"}
    for (n, given), error in printed.items():
        assert digits(world.plug_in_risk(n, given).middle, error)
    assert digits(world.known("bayes_risk", "a").middle, "0.2119")
    assert digits(world.known("bayes_risk", "ab").middle, "0.1727")
    crossover = int(world.plug_in_crossover("a", "ab"))
    gains = [world.plug_in_risk(n, "a").middle - world.plug_in_risk(n, "ab").middle for n in (crossover - 1, crossover)]
    assert 100 < crossover < 200
    assert gains[0] < 0 <= gains[1]
    assert world.plug_in_crossover("ab", "a", most=1000) == 2  # the smaller set is ahead from the start


def test_ten_orthogonal_signals():
    world = GaussianDiscriminant(d2=(2.25, 1.0), classes=10)
    for given, accuracy in (("a", "0.5086"), ("b", "0.3409"), ("ab", "0.6108")):
        for route in world.routes("bayes_risk"):
            assert digits(1 - world.known("bayes_risk", given, route=route).middle, accuracy)


def test_structural_designs():
    suppressor = LatentRegression.suppressor(snr=3.0, rho=0.8)
    synergy = 0.5 * math.log((1 + 3 / 0.36) / 4)
    assert suppressor.known("synergy", "ab").middle == pytest.approx(synergy, abs=1e-12)
    assert suppressor.known("redundancy", "ab").middle == pytest.approx(0, abs=1e-12)
    equal = LatentRegression.exchangeable(5, 0.7, 0.3)
    assert equal.known("information", "abcde").middle == pytest.approx(
        0.5 * math.log1p(5 * 0.7 / (1 + 4 * 0.3)), abs=1e-12
    )
    copies = LatentRegression.redundant((3.0, 1.0))
    assert copies.known("synergy", "ab").middle == pytest.approx(0, abs=1e-12)
    assert copies.known("redundancy", "ab").middle == pytest.approx(0.5 * math.log(2), abs=1e-12)
