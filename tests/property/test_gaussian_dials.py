"""The dial → effect table of theory §11.13, for the Gaussian worlds, and the learners that a law can solve."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.info import subsets
from mmtheory.rng import Stream
from synthetic.worlds import GaussianDiscriminant, GaussianRegression, LatentRegression

strengths = st.floats(0.05, 10.0)
noises = st.floats(0.0, 1.0)
factors = st.floats(1.05, 5.0)
TINY = 1e-10


def atoms(world):
    return {
        "R": world.known("redundancy", "ab").middle,
        "Ua": world.known("unique", "a").middle,
        "Ub": world.known("unique", "b").middle,
        "S": world.known("synergy", "ab").middle,
    }


@given(strengths, strengths, factors, noises)
@settings(max_examples=25)
def test_snr(one, two, factor, noise):
    """I_m ↑, r* ↓ for S ∋ m; R ↑ through the weaker, U ↑ through the stronger; ‖Σ_yx‖ ↑; OLS risk ↓."""
    strong, weak = max(one, two) * 1.01, min(one, two)
    world = GaussianRegression(snr=(strong, weak), label_noise=noise)
    louder = replace(world, snr=(strong * factor, weak))
    assert louder.known("information", "a").middle > world.known("information", "a").middle
    assert louder.known("information", "b") == world.known("information", "b")
    assert louder.known("bayes_risk", "a").middle < world.known("bayes_risk", "a").middle
    assert louder.known("bayes_risk", "ab").middle < world.known("bayes_risk", "ab").middle
    assert louder.law.ols_risk(20, "ab").middle < world.law.ols_risk(20, "ab").middle
    assert atoms(louder)["Ua"] > atoms(world)["Ua"]
    assert atoms(louder)["R"] == pytest.approx(atoms(world)["R"], abs=TINY)
    assert float(louder.law.cross[0]) == pytest.approx(math.sqrt(factor) * float(world.law.cross[0]), rel=1e-12)
    nearer = replace(world, snr=(strong, min(weak * factor, strong)))
    assert atoms(nearer)["R"] > atoms(world)["R"] - TINY
    assert atoms(nearer)["Ua"] < atoms(world)["Ua"] + TINY


@given(strengths, strengths, st.integers(1, 6), noises)
def test_pure_noise_dimensions(one, two, extra, noise):
    """Nothing but the finite-sample risk moves."""
    world = GaussianRegression(snr=(one, two), label_noise=noise)
    wide = replace(world, dims=(1 + extra, 1))
    for s in ("a", "b", "ab"):
        for route in world.routes("information"):
            assert wide.known("information", s, route=route).middle == pytest.approx(
                world.known("information", s, route=route).middle, abs=TINY
            )
        for route in world.routes("bayes_risk"):
            assert wide.known("bayes_risk", s, route=route).middle == pytest.approx(
                world.known("bayes_risk", s, route=route).middle, abs=TINY
            )
    assert atoms(wide) == pytest.approx(atoms(world), abs=TINY)
    assert float(wide.law.cross.norm()) == pytest.approx(float(world.law.cross.norm()), rel=1e-12)
    for s in ("a", "ab"):
        assert wide.law.ols_risk(30, s).middle > world.law.ols_risk(30, s).middle
    assert wide.law.ols_risk(30, "b").middle == pytest.approx(world.law.ols_risk(30, "b").middle, rel=1e-12)


@pytest.mark.parametrize("kind", [GaussianRegression, GaussianDiscriminant])
@given(one=strengths, two=strengths)
@settings(max_examples=12)
def test_noise_correlation(kind, one, two):
    """It moves only sets of two or more, of the atoms only S, which is least where ρ = √(min/max)."""
    dial = "snr" if kind is GaussianRegression else "d2"
    low, high = min(one, two), max(one, two) * 1.05
    pure = math.sqrt(low / high)
    grid = sorted({*(r / 10 for r in range(-9, 10, 3)), pure})
    worlds = {rho: kind(**{dial: (high, low)}, rho=rho) for rho in grid}
    first = worlds[grid[0]]
    for world in worlds.values():
        for s in "ab":
            assert world.known("information", s).middle == pytest.approx(first.known("information", s).middle, abs=TINY)
    found = {rho: atoms(world) for rho, world in worlds.items()}
    for atom in ("R", "Ua", "Ub"):
        assert all(v[atom] == pytest.approx(found[grid[0]][atom], abs=1e-9) for v in found.values())
    synergy = {rho: v["S"] for rho, v in found.items()}
    assert synergy[pure] == pytest.approx(0, abs=1e-9)
    for a, b in pairwise(grid):
        assert (synergy[a] >= synergy[b] - 1e-9) if b <= pure else (synergy[a] <= synergy[b] + 1e-9)


@given(strengths, strengths, noises, factors, st.floats(-0.9, 0.9))
def test_label_noise(one, two, noise, factor, rho):
    """I ↓, r* ↑, every atom shrinks, OLS risk ↑; the population gradient, whose mean it leaves alone, does not move."""
    world = GaussianRegression(snr=(one, two), label_noise=noise + 0.01, rho=rho)
    noisy = replace(world, label_noise=(noise + 0.01) * factor)
    for s in ("a", "b", "ab"):
        assert noisy.known("information", s).middle < world.known("information", s).middle
        assert noisy.known("bayes_risk", s).middle > world.known("bayes_risk", s).middle
        assert noisy.law.ols_risk(20, s).middle > world.law.ols_risk(20, s).middle
    for atom, value in atoms(noisy).items():
        assert value <= atoms(world)[atom] + TINY
    assert torch.equal(noisy.law.cross, world.law.cross)


@given(strengths, noises, st.integers(1, 3))
def test_number_of_exchangeable_modalities(snr, noise, dims):
    """I_m stands, r* falls convexly, information has diminishing returns, the finite-sample risk falls and then rises."""
    world = GaussianRegression(snr=(snr,) * 8, dims=(dims,), label_noise=noise)
    nested = [world.modalities[:m] for m in range(9)]
    risk = [world.known("bayes_risk", s).middle for s in nested]
    drops = [a - b for a, b in pairwise(risk)]
    assert all(d > 0 for d in drops)
    assert all(a >= b - TINY for a, b in pairwise(drops))
    gains = [b - a for a, b in pairwise([world.known("information", s).middle for s in nested])]
    assert all(a >= b - TINY for a, b in pairwise(gains))
    finite = [world.law.ols_risk(8 * dims + 3, s).middle for s in nested]
    signs = [b > a for a, b in pairwise(finite)]
    assert signs == sorted(signs)
    assert signs[-1]


@given(st.integers(0, 10**6), st.floats(0.0, 3.0))
@settings(max_examples=25)
def test_ridge_is_its_bias_and_variance(seed, penalty):
    """The closed form against the mean and covariance of the estimate, computed from its definition."""
    law = GaussianRegression(snr=(3.0, 1.0), dims=(2, 3), rho=0.3).law
    design = Stream(seed, ("ridge",)).draws().normal("x", 3, 20, 5) @ torch.linalg.cholesky(law.covariance).mT
    hat = torch.linalg.solve(design.mT @ design + 20 * penalty * torch.eye(5, dtype=torch.float64), design.mT)
    mean = (hat @ design @ law.coefficients("ab")[:, None])[..., 0]
    spread = law.risk("ab").middle * (hat @ hat.mT @ law.covariance).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(law.ridge_risk(design, penalty, "ab"), law.linear_risk(mean, "ab") + spread, rtol=1e-9)


@given(st.floats(0.0, 5.0))
@settings(max_examples=25)
def test_gradient_flow(time):
    """Against a matrix exponential, the risk of its weights, and its own differential equation."""
    law = GaussianRegression(snr=(3.0, 1.0), dims=(2, 1), scale=(1.0, 3.0)).law
    w = law.flow(time, "ab")
    eye = torch.eye(3, dtype=torch.float64)
    direct = (eye - torch.linalg.matrix_exp(-law.covariance * time)) @ torch.linalg.solve(law.covariance, law.cross)
    assert torch.allclose(w, direct, atol=1e-9)
    assert float(law.flow_risk(time, "ab")) == pytest.approx(float(law.linear_risk(w, "ab")), abs=1e-9)
    slope = (law.flow(time + 1e-5, "ab") - law.flow(max(time - 1e-5, 0), "ab")) / (1e-5 + min(time, 1e-5))
    if time > 1e-5:
        assert torch.allclose(slope, law.cross - law.covariance @ w, atol=1e-6)


@given(strengths, strengths, strengths, st.floats(0.05, 0.95))
def test_shared_and_private(one, two, own, share):
    """A private latent is visible through its own modality only: without importance it is noise, with all of it b knows nothing of a's."""
    only = LatentRegression.shared_private((one, two), (own, own), share=1.0)
    same = GaussianRegression(snr=(one, two))
    for s in ("a", "b", "ab"):
        assert only.known("information", s).middle == pytest.approx(same.known("information", s).middle, abs=1e-9)
    none = LatentRegression.shared_private((0.0, 0.0), (own, own), share=share)
    for s in subsets("ab"):
        v = (1 - share) / 2
        assert none.known("bayes_risk", s).middle == pytest.approx(0.1 + 1 - len(s) * v * own / (1 + own), abs=1e-9)


@given(st.lists(strengths, min_size=2, max_size=5, unique=True))
def test_degraded_copies_are_pure_redundancy(snr):
    """Whatever the number of copies, all together know what the best one knows."""
    if min(b / a for a, b in pairwise(sorted(snr))) < 1.01:
        return
    world = LatentRegression.redundant(snr)
    best = max(range(len(snr)), key=lambda i: snr[i])
    whole = world.known("information", world.modalities)
    assert whole.middle == pytest.approx(world.known("information", world.modalities[best]).middle, abs=1e-8)


@given(strengths, strengths, factors, st.integers(2, 4), st.integers(0, 2**31))
@settings(max_examples=15, deadline=None)
def test_the_discriminants_scale_moves_inputs_and_no_answer(one, two, factor, classes, seed):
    world = GaussianDiscriminant(d2=(one, two), rho=0.3, dims=(classes, classes + 1), classes=classes)
    louder = replace(world, scale=(factor, 1 / factor))
    for s in subsets(world.modalities):
        assert all(louder.known(q, s) == world.known(q, s) for q in ("bayes_risk", "information"))
    plain, loud = (w.sample(5, stream=Stream(seed)) for w in (world, louder))
    assert torch.equal(plain.y, loud.y)
    for m, c in zip("ab", louder.scale, strict=True):
        assert torch.allclose(loud.x[m], c * plain.x[m], rtol=1e-15)
    for s in ({"a"}, {"a", "b"}):
        seen = [w.posterior(b.only(s).stacked(), s) for w, b in ((world, plain), (louder, loud))]
        assert torch.allclose(*seen, atol=1e-12)
    if classes == 2:
        w = Stream(seed).child("weights").draws().normal("w", 5)
        stretch = torch.tensor([factor] * 2 + [1 / factor] * 3, dtype=torch.float64)
        assert float(louder.linear_risk(w / stretch, "ab")) == pytest.approx(
            float(world.linear_risk(w, "ab")), abs=1e-12
        )
