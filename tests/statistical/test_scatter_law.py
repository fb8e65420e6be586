"""The scatter that nobody's samples gave has the law of the samples' scatter: exact moments, and two-sample agreement of every fit."""

from itertools import pairwise
from statistics import NormalDist

import pytest
import torch
from scipy.stats import ks_2samp

from mmtheory.bounds import Scatter
from mmtheory.rng import Stream
from synthetic.worlds import GaussianRegression, LatentRegression

ALPHA = 1e-6
"""Probability of a false alarm of each test, shared among its comparisons."""

WORLDS = {
    "wide": GaussianRegression(snr=(3.0, 1.0), dims=(2, 5), scale=(1.0, 3.0), label_noise=0.1, rho=0.4),
    "latent": LatentRegression(),
}
N, FITS = 12, 3000


def both(world, n=N, count=FITS):
    """The same number of scatters from data and without."""
    long = world.sample(count * n, stream=Stream(3).child("data"))
    x = long.stacked().reshape(count, n, -1)
    return Scatter.of(x, long.y.reshape(count, n)), world.scatter(n, stream=Stream(3).child("drawn"), count=(count,))


@pytest.mark.parametrize("name", WORLDS)
def test_first_two_moments_are_wisharts(name):
    r"""E G = nΣ and Var G_ij = n(Σ_ij² + Σ_iiΣ_jj); the squared deviation's own mean is judged by its sample variance."""
    world, count = WORLDS[name], 40_000
    drawn = world.scatter(N, stream=Stream(5), count=(count,))
    cross = drawn.cross[..., None]
    rows = torch.cat([torch.cat([drawn.gram, cross], -1), torch.cat([cross.mT, drawn.square[:, None, None]], -1)], -2)
    sigma = world.law.joint
    spread = N * (sigma**2 + sigma.diagonal()[:, None] * sigma.diagonal())
    off = (rows - N * sigma) / spread.sqrt()
    z = NormalDist().inv_cdf(1 - ALPHA / (4 * sigma.numel()))
    assert float((off.mean(0) * count**0.5).abs().max()) <= z
    second = off**2 - 1
    assert float((second.mean(0) / second.std(0) * count**0.5).abs().max()) <= z


@pytest.mark.parametrize("name", WORLDS)
def test_fits_err_as_fits_on_data_do(name):
    """Risk, training error and a ridge weight on every nested set of columns: Kolmogorov–Smirnov between the two routes."""
    world = WORLDS[name]
    sets = [world.law.columns(world.modalities[: k + 1]) for k in range(len(world.modalities))]
    pairs = []
    for columns, names in zip(sets, (world.modalities[: k + 1] for k in range(len(sets))), strict=True):
        own = [s.only(columns) for s in both(world)]
        weights = [s.least_squares() for s in own]
        pairs.append([world.law.linear_risk(w, names) for w in weights])
        pairs.append([s.error(w) for s, w in zip(own, weights, strict=True)])
        pairs.append([s.ridge(0.3)[:, 0] for s in own])
    for first, second in pairs:
        assert ks_2samp(first.numpy(), second.numpy()).pvalue >= ALPHA / len(pairs)


def test_paired_fits_stay_paired():
    """The difference of two subsets' risks, which a wrong coupling between blocks would change."""
    world = WORLDS["wide"]
    ends = [(("a",), world.law.columns(["a"])), (("a", "b"), world.law.columns())]
    differences = []
    for sums in both(world):
        risks = [world.law.linear_risk(sums.only(c).least_squares(), names) for names, c in ends]
        differences += [b - a for a, b in pairwise(risks)]
    assert ks_2samp(*(d.numpy() for d in differences)).pvalue >= ALPHA


def test_the_wrong_degrees_of_freedom_are_noticed():
    """Negative control: a factor with one degree too many is no longer the law of the data."""
    world = WORLDS["wide"]
    right, _ = both(world)
    wrong = world.scatter(N + 1, stream=Stream(3).child("drawn"), count=(FITS,))
    risks = [world.law.linear_risk(s.least_squares(), "ab").numpy() for s in (right, wrong)]
    assert ks_2samp(*risks).pvalue < ALPHA
