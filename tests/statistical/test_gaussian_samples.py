"""Samples of the Gaussian worlds against their laws (theory §13, property 34).

Each test errs with probability at most 1e-6: every comparison is a Student interval at 1e-6 shared among its comparisons. None is retried.
"""

import math

import pytest
import torch

from mmtheory.rng import Stream
from mmtheory.stats import student
from synthetic.latent import LatentSpace
from synthetic.worlds import GaussianDiscriminant, GaussianProbit, GaussianRegression, LatentProbit, LatentRegression

ALPHA = 1e-6
DENSE = (((0.5, 1.0), (1.0, -1.0)), ((2.0, 0.3),))
PSI = ((1.0, 0.3, 0.5), (0.3, 2.0, 0.1), (0.5, 0.1, 1.0))

REGRESSIONS = [
    GaussianRegression(snr=(3.0, 1.0, 0.2), dims=(2, 1, 3), scale=(1.0, 2.0, 0.5), rho=0.4),
    LatentRegression(DENSE, (1.0, 0.5), PSI, (1.0, 3.0)),
    LatentRegression.suppressor(),
    LatentSpace(private=(1, 2), synergistic=1, rho=0.3, decoder="rotated", dims=(5, 6)).exact(),
]


def agree(values, expected, comparisons):
    interval = student(values, alpha=ALPHA / comparisons)
    assert interval.low - 1e-12 <= expected <= interval.high + 1e-12


@pytest.mark.parametrize("world", REGRESSIONS, ids=lambda w: w.name)
def test_second_moments(world):
    batch = world.sample(40_000, stream=Stream(3, ("moments", world.name)))
    x, law = batch.stacked(), world.law
    joint = torch.cat([x, batch.y[:, None]], 1)
    d = joint.shape[1]
    for i in range(d):
        for j in range(i + 1):
            agree(joint[:, i] * joint[:, j], float(law.joint[i, j]), d * (d + 1) / 2)


@pytest.mark.parametrize("world", REGRESSIONS, ids=lambda w: w.name)
def test_risk_of_a_given_linear_model(world):
    batch = world.sample(40_000, stream=Stream(4, ("risk", world.name)))
    x = batch.stacked()
    w = Stream(5).draws().normal("w", x.shape[1])
    for weights, bias in ((w, 0.7), (world.law.coefficients(world.modalities), 0.0)):
        expected = world.law.linear_risk(weights, world.modalities, intercept=bias)
        agree((batch.y - x @ weights - bias) ** 2, float(expected), 2)


@pytest.mark.parametrize(
    "world",
    [GaussianProbit(snr=(3.0, 1.0), dims=(2, 1), rho=0.3), LatentProbit(DENSE, (1.0, 0.5), PSI)],
    ids=lambda w: w.name,
)
def test_probit(world):
    """Risks of classifiers with and without threshold, and calibration of the posterior."""
    batch = world.sample(60_000, stream=Stream(6, ("probit", world.name)))
    x, y = batch.stacked(), batch.y.double()
    every = world.modalities
    w = world.law.coefficients(every)
    agree(((x @ w > 0) != (y > 0)).double(), world.known("bayes_risk", every).middle, 6)
    for threshold in (-0.4, 0.8):
        expected = world.linear_risk(w + 0.2, every, threshold=threshold)
        agree(((x @ (w + 0.2) > threshold) != (y > 0)).double(), float(expected), 6)
    p = world.posterior(x, every)
    agree(p - y, 0.0, 6)
    agree((p - y) * p, 0.0, 6)
    entropy = -torch.special.xlogy(p, p) - torch.special.xlogy(1 - p, 1 - p)
    agree(entropy, world.known("posterior_entropy", every).middle, 6)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_discriminant(classes):
    world = GaussianDiscriminant(d2=(1.0, 0.5), rho=0.3, dims=(classes + 1, classes), classes=classes)
    batch = world.sample(60_000, stream=Stream(7, ("discriminant", classes)))
    for k, s in enumerate(("a", "b", "ab")):
        x = batch.only(s).stacked()
        p = world.posterior(x, s)
        assert torch.allclose(p.sum(-1), torch.ones(batch.n, dtype=torch.float64), atol=1e-12)
        agree((p.argmax(-1) != batch.y).double(), world.known("bayes_risk", s).middle, 9)
        agree(-torch.special.xlogy(p, p).sum(-1), world.known("posterior_entropy", s).middle, 9)
        agree(p[:, k % classes] - (batch.y == k % classes).double(), 0.0, 9)


def test_given_linear_classifier():
    world = GaussianDiscriminant(d2=(1.0, 0.5), rho=-0.4, dims=(2, 1))
    batch = world.sample(60_000, stream=Stream(8, ("linear",)))
    w = torch.tensor([0.5, 0.3, 1.5], dtype=torch.float64)
    wrong = ((batch.stacked() @ w + 0.3 > 0) != (batch.y == 1)).double()
    agree(wrong, float(world.linear_risk(w, "ab", bias=0.3)), 1)


def test_training_error_of_least_squares():
    world = GaussianRegression(snr=(3.0, 1.0), dims=(2, 5))
    batch = world.sample(30, stream=Stream(9, ("train",)), replicates=range(3000))
    x = batch.stacked()
    fit = torch.linalg.lstsq(x, batch.y[..., None]).solution
    agree(((batch.y[..., None] - x @ fit) ** 2).mean((-2, -1)), world.law.ols_train_risk(30, "ab").middle, 1)


def test_missing_and_masked():
    """Presence at its rate, zeros where absent; and a predictor that knows who is there attains the mixture of risks."""
    space = LatentSpace(missing=(0.3, 0.1))
    batch = space.sample(60_000, stream=Stream(10, ("missing",)))
    law = space.equivalent().law
    guess = torch.zeros(batch.n, dtype=torch.float64)
    for s in ("", "a", "b", "ab"):
        here = torch.ones(batch.n, dtype=torch.bool)
        for m in "ab":
            here &= batch.present[m] == (m in s)
        if s:
            guess = torch.where(here, batch.only(s).stacked() @ law.coefficients(s), guess)
    agree((guess - batch.y) ** 2, space.bayes_risk().middle, 3)
    for i, m in enumerate("ab"):
        agree((~batch.present[m]).double(), space.missing[i], 3)
        assert bool((batch.x[m][~batch.present[m]] == 0).all())
    assert not math.isnan(float(guess.sum()))
