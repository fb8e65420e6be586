"""Samples against exact answers; each test errs with probability at most 1e−6 (normal approximation at these sizes), never retried."""

import pytest
import torch

from mmtheory.rng import Stream
from mmtheory.stats import student
from synthetic.worlds import Gated, SelectionGaussian, SelectionTable

WORLDS = [
    SelectionGaussian(),
    SelectionGaussian(alignment=0.6, lam=3.0),
    SelectionGaussian(collider=True),
    SelectionGaussian(kappa=(0.0, 0.0), dim=1),
]
N = 100_000


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.label())
def test_moments_of_selected_samples(world):
    batch = world.sample(N, stream=Stream(11, ("moments",)))
    both = batch.stacked()
    cells = 2 * (2 * world.dim) * (2 * world.dim + 1)
    for label, sign in ((0, -1), (1, 1)):
        mean, cov = world.moments(sign)
        rows = both[batch.y == label] - mean
        products = (rows[:, :, None] * rows[:, None, :]).flatten(1)
        wanted = torch.cat([torch.zeros(2 * world.dim), cov.flatten()])
        for k, column in enumerate(torch.cat([rows, products], 1).T):
            assert wanted[k].item() in student(column, alpha=1e-6 / cells)


@pytest.mark.parametrize("world", WORLDS, ids=lambda w: w.label())
def test_risk_and_information_of_samples(world):
    batch = world.sample(N, stream=Stream(12, ("risk",)))
    sign = 2.0 * batch.y - 1
    for given in ("a", "b", "ab"):
        odds = world.log_odds({m: batch.x[m] for m in given})
        wrong = torch.where(odds == 0, 0.5, (odds * sign < 0).double())
        loss = torch.nn.functional.softplus(-sign * odds)
        risk, left = world.known("bayes_risk", given), world.known("posterior_entropy", given)
        if wrong.std() > 0:
            assert risk.middle in student(wrong, alpha=1e-6 / 6)
        if loss.std() > 1e-12:
            assert left.middle in student(loss, alpha=1e-6 / 6)


@pytest.mark.parametrize("world", [SelectionTable(), Gated((0.6, 0.9, 0.3), (0.1, 0.2, 0.0))], ids=lambda w: w.label())
def test_cells_of_samples(world):
    batch = world.sample(N, stream=Stream(13, ("cells",)))
    index = torch.zeros_like(batch.y)
    for symbols, size in zip((*batch.x.values(), batch.y), world.table.shape, strict=True):
        index = index * size + symbols
    law = world.table.flatten()
    for k, p in enumerate(law.tolist()):
        if p == 0:
            assert not bool((index == k).any())
        else:
            assert p in student((index == k).double(), alpha=1e-6 / len(law))


def test_patterns_of_samples():
    world = Gated(patterns=("ab", "a", ""), chances=(0.5, 0.3, 0.2))
    batch = world.sample(N, stream=Stream(14, ("patterns",)))
    assert 0.8 in student(batch.present["a"].double(), alpha=5e-7)
    assert 0.5 in student(batch.present["b"].double(), alpha=5e-7)
    assert not bool((batch.present["b"] & ~batch.present["a"]).any())
