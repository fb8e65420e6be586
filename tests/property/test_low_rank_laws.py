"""Reduced-rank corrections: the curve, the correction that attains it, and what nesting of ranks and coordinates implies."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError
from mmtheory.info import reduced_rank_correction, reduced_rank_risks, unimodal_regressors
from mmtheory.rng import Stream

seeds = st.integers(0, 2**30)


def problem(seed, p=3, d=5, batch=()):
    draws = Stream(seed).draws(range(batch[0]) if batch else None)
    root = draws.normal("root", d, d + 2)
    return draws.normal("maps", p, d), root @ root.mT / d


def error(residual, cov):
    return ((residual @ cov) * residual).sum((-2, -1))


@given(seeds, st.integers(0, 3))
def test_the_correction_attains_the_curve(seed, rank):
    residual, cov = problem(seed)
    found = reduced_rank_correction(residual, cov, rank)
    assert torch.linalg.matrix_rank(found) <= rank
    assert torch.allclose(error(residual - found, cov), reduced_rank_risks(residual, cov)[rank], atol=1e-9)
    given_ = [1, 3, 4]
    part = torch.zeros_like(residual)
    part[:, given_] = reduced_rank_correction(residual, cov, rank, given_)
    assert torch.allclose(error(residual - part, cov), reduced_rank_risks(residual, cov, given_)[rank], atol=1e-9)


@given(seeds, seeds, st.integers(1, 2))
def test_no_other_correction_of_that_rank_is_better(seed, other, rank):
    residual, cov = problem(seed)
    draws = Stream(other).draws()
    rival = draws.normal("b", 3, rank) @ draws.normal("a", rank, 5)
    assert error(residual - rival, cov) >= reduced_rank_risks(residual, cov)[rank] - 1e-9


@given(seeds)
def test_the_curve_falls_is_convex_and_widens_with_the_coordinates(seed):
    residual, cov = problem(seed)
    curve, part = reduced_rank_risks(residual, cov), reduced_rank_risks(residual, cov, [0, 1, 2])
    assert bool((curve.diff() <= 1e-12).all())
    assert bool((curve.diff(n=2) >= -1e-9).all())
    assert bool((curve <= part + 1e-9).all())
    assert torch.allclose(curve[0], error(residual, cov))


@given(seeds)
def test_unimodal_regressors_leave_nothing_their_modality_can_say(seed):
    maps, cov = problem(seed)
    found = unimodal_regressors(maps, cov, [2, 3])
    for here in (slice(0, 2), slice(2, 5)):
        alone = torch.zeros_like(maps)
        alone[:, here] = found[:, here]
        assert torch.allclose(
            ((maps - alone) @ cov)[:, here], torch.zeros(3, here.stop - here.start).double(), atol=1e-9
        )
    apart = torch.block_diag(cov[:2, :2], cov[2:, 2:])
    assert torch.allclose(unimodal_regressors(maps, apart, [2, 3]), maps, atol=1e-9)


@given(seeds)
def test_stacked_problems_are_problems(seed):
    residual, cov = problem(seed, batch=(3,))
    assert torch.allclose(reduced_rank_risks(residual, cov)[1], reduced_rank_risks(residual[1], cov[1]))


def test_refusals():
    residual, cov = problem(0)
    with pytest.raises(ArgumentError, match="expected a rank from 0 to 3, found 4"):
        reduced_rank_correction(residual, cov, 4)
    with pytest.raises(ArgumentError, match="widths that add up to 5"):
        unimodal_regressors(residual, cov, [2, 2])
