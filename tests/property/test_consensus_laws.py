"""MAXVAR and principal angles, and the consistency losses against plain loops."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.info import maxvar, principal_cosines
from mmtheory.models.consistency import (
    consensus_loss,
    covariance_penalty,
    matching_loss,
    umurl_loss,
    variance_hinge,
)
from mmtheory.rng import Stream

seeds = st.integers(0, 2**30)


def covariance(seed, d, batch=()):
    root = Stream(seed).draws(range(batch[0]) if batch else None).normal("root", d, d + 2)
    return root @ root.mT / d


@given(seeds, st.integers(1, 3))
def test_the_consensus_is_white_and_as_near_as_its_eigenvalues_say(seed, rank):
    widths, cov = [2, 3, 1], covariance(seed, 6)
    values, g = maxvar(cov, widths, rank)
    assert torch.allclose(g.mT @ cov @ g, torch.eye(rank, dtype=torch.float64), atol=1e-9)
    total, at = 0.0, 0
    for width in widths:
        here = slice(at, at + width)
        w = torch.linalg.solve(cov[here, here], cov[here] @ g)
        total += rank - float(torch.trace(w.mT @ cov[here, here] @ w))
        at += width
    assert abs(total - float((3 - values).sum())) < 1e-8
    assert bool((values.diff() <= 1e-12).all())
    assert 1 - 1e-9 <= float(values[0]) <= 3 + 1e-9


@given(seeds)
def test_two_views_give_canonical_correlations(seed):
    cov = covariance(seed, 5)
    values, _ = maxvar(cov, [2, 3], 2)
    eye = torch.eye(5, dtype=torch.float64)
    assert torch.allclose(values, 1 + principal_cosines(eye[:, :2], eye[:, 2:], cov), atol=1e-9)


@given(seeds)
def test_maxvar_does_not_see_a_change_of_coordinates_within_a_view(seed):
    cov, turn = covariance(seed, 5), covariance(seed + 1, 3)
    change = torch.block_diag(torch.eye(2, dtype=torch.float64), turn)
    values, _ = maxvar(cov, [2, 3], 2)
    assert torch.allclose(maxvar(change @ cov @ change.mT, [2, 3], 2)[0], values, atol=1e-7)


@given(seeds)
def test_stacked_covariances_are_covariances(seed):
    cov = covariance(seed, 4, batch=(3,))
    assert torch.allclose(maxvar(cov, [2, 2], 2)[0][1], maxvar(cov[1], [2, 2], 2)[0], atol=1e-12)


def test_maxvar_refuses_what_does_not_fit():
    with pytest.raises(ArgumentError, match="widths that add up to 4 and a rank from 1 to 4"):
        maxvar(covariance(0, 4), [2, 3], 1)


@given(seeds, st.integers(1, 5), st.integers(2, 6), st.integers(1, 4))
def test_consistency_losses_are_those_of_plain_loops(seed, views, n, width):
    draws = Stream(seed).draws()
    codes = [draws.normal(f"z{m}", n, width) for m in range(views)]
    fused = [draws.normal(f"u{m}", n, width) for m in range(views)]
    pairs = sum(((codes[i] - codes[j]) ** 2).mean() for i in range(views) for j in range(i))
    assert torch.allclose(consensus_loss(codes), torch.as_tensor(pairs, dtype=torch.float64) / views)
    match = sum(
        float((z[i, d] - u[i, d]) ** 2) / (n * width)
        for z, u in zip(codes, fused, strict=True)
        for i in range(n)
        for d in range(width)
    )
    assert abs(float(matching_loss(codes, fused)) - match) < 1e-9
    regular = 0.0
    for z in (*codes, *fused):
        cov = torch.atleast_2d(torch.cov(z.T))
        spread = (torch.diagonal(cov) + 1e-4).sqrt()
        hinge = sum(max(0.0, 1 - float(s)) for s in spread) / width
        off = sum(float(cov[i, j]) ** 2 for i in range(width) for j in range(width) if i != j) / width
        assert abs(float(variance_hinge(z)) - hinge) < 1e-9
        assert abs(float(covariance_penalty(z)) - off) < 1e-9
        regular += 5 * hinge + off
    assert abs(float(umurl_loss(codes, fused)) - (5 * (float(pairs) / views + match) + regular)) < 1e-8


def test_codes_of_different_shapes_are_refused():
    with pytest.raises(ArgumentError, match="codes of one shape"):
        consensus_loss([torch.zeros(2, 1), torch.zeros(3, 1)])
