"""Logistic regression over a ball: feasible, certified, equal to the unconstrained fit inside, on the sphere otherwise."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.bounds import ball_logistic, logistic_regression
from mmtheory.testing.strategies import streams


@given(streams(), st.integers(1, 4), st.integers(2, 6), st.floats(0.1, 5.0))
@settings(max_examples=25)
def test_no_other_point_of_the_ball_is_better_by_more_than_the_gap(stream, width, cells, radius):
    draws = stream.draws()
    rows = draws.normal("rows", cells, width)
    counts = (5 * draws.uniform("counts", 3, cells, 2)).round() + 0.5
    fit = ball_logistic(rows, counts, radius)
    assert float(fit.weights.norm(dim=-1).max()) <= radius * (1 + 1e-12)
    others = draws.normal("others", 3, 50, width)
    others = radius * others / others.norm(dim=-1, keepdim=True) * draws.uniform("far", 3, 50, 1)
    margins = others @ rows.mT
    share = counts / counts.sum((-1, -2), keepdim=True)
    losses = (share[:, None, :, 1] * torch.nn.functional.softplus(-margins)).sum(-1)
    losses = losses + (share[:, None, :, 0] * torch.nn.functional.softplus(margins)).sum(-1)
    assert bool((losses >= (fit.loss - fit.gap)[:, None] - 1e-12).all())


@given(streams(), st.integers(1, 3))
@settings(max_examples=15)
def test_a_large_ball_does_not_bind(stream, width):
    draws = stream.draws()
    x, y = draws.normal("x", 40, width), draws.integers("y", 2, 40)
    free = logistic_regression(x, y, ridge=0.0)
    counts = torch.nn.functional.one_hot(y, 2)
    fit = ball_logistic(x, counts, 2 * float(free.weights.norm()) + 1, tolerance=1e-9)
    assert float((fit.loss - free.loss).abs()) <= float(fit.gap + free.gap) + 1e-12
