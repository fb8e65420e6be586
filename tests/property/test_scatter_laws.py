"""Laws of scatters: what data give, what fits make of them, whose numbers they are."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.bounds import Scatter, least_squares
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Stream
from synthetic.worlds import GaussianRegression, LatentRegression

WORLD = GaussianRegression(snr=(3.0, 1.0), dims=(2, 3))


@given(seed=st.integers(0, 999), d=st.integers(1, 6), extra=st.integers(1, 20))
def test_a_scatter_of_data_gives_the_fit_of_the_data(seed, d, extra):
    draws = Stream(seed).draws(range(3))
    x, y = draws.normal("x", d + extra + 3, d), draws.normal("y", d + extra + 3)
    sums, fit = Scatter.of(x, y), least_squares(x, y)
    weights = sums.least_squares()
    torch.testing.assert_close(weights, fit.weights, rtol=1e-6, atol=1e-8)
    residual = y - (x @ weights[..., None])[..., 0]
    torch.testing.assert_close(sums.error(weights), (residual**2).mean(-1), rtol=1e-9, atol=1e-10)
    columns = list(range(0, d, 2))
    torch.testing.assert_close(
        sums.only(columns).least_squares(), least_squares(x[..., columns], y).weights, rtol=1e-6, atol=1e-8
    )


@given(seed=st.integers(0, 999), penalty=st.floats(1e-3, 10))
def test_ridge_weights_are_stationary(seed, penalty):
    sums = WORLD.scatter(20, stream=Stream(seed), replicates=range(2))
    w = sums.ridge(penalty)
    slope = (sums.gram @ w[..., None])[..., 0] / sums.n - sums.cross / sums.n + penalty * w
    assert float(slope.abs().max()) <= 1e-11 * float(1 + sums.gram.abs().max())


@given(seed=st.integers(0, 999), n=st.integers(6, 40))
def test_a_replicate_is_its_own_stream(seed, n):
    together = WORLD.scatter(n, stream=Stream(seed), replicates=range(3))
    alone = WORLD.scatter(n, stream=Stream(seed).child(1))
    torch.testing.assert_close(together.gram[1], alone.gram, rtol=1e-13, atol=0)
    more = WORLD.scatter(n, stream=Stream(seed), count=(5,))
    fewer = WORLD.scatter(n, stream=Stream(seed), count=(2,))
    torch.testing.assert_close(more.cross[:2], fewer.cross, rtol=1e-12, atol=1e-12)


def test_what_has_no_such_factor_is_refused():
    with pytest.raises(NotExactError, match="n > d = 5"):
        WORLD.scatter(5, stream=Stream(0))
    with pytest.raises(NotExactError, match="missingness 0"):
        LatentRegression(missingness=0.5).scatter(50, stream=Stream(0))
    with pytest.raises(ArgumentError, match="found"):
        Scatter.of(torch.ones(4, 2), torch.ones(3))
    with pytest.raises(ArgumentError, match="linearly independent"):
        Scatter.of(torch.zeros(4, 2), torch.ones(4)).least_squares()
