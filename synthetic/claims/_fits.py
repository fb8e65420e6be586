"""Least-squares fits and their exact errors, as the empirical sides of several papers need them; nothing here asks a world for answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.bounds import Scatter, least_squares
from mmtheory.claims import Trial
from mmtheory.stats import Interval
from mmtheory.world import World
from synthetic.worlds import GaussianLaw, LinearGaussian

AT_ONCE = 16_000_000


def data_sets(world: World, size: int, width: int, trial: Trial) -> Iterator[Batch]:
    """``trial.n`` independent data sets of ``size`` samples, stacked on the leading axis, in pieces that fit in memory.

    The rows of one long sample are independent, so cutting it into data sets costs one generator instead of one a data set.

    :param width: numbers a sample holds, from which the pieces' length follows.
    """
    piece = max(1, AT_ONCE // (size * (width + 4)))
    for k, start in enumerate(range(0, trial.n, piece)):
        count = min(piece, trial.n - start)
        long = world.sample(count * size, stream=trial.stream.child("size", size, k), device=trial.device)
        yield Batch({m: x.reshape(count, size, -1) for m, x in long.x.items()}, long.y.reshape(count, size))


def scatters(world: LinearGaussian, size: int, trial: Trial) -> Iterator[Scatter]:
    """What ``trial.n`` data sets of ``size`` samples tell a linear learner, drawn without the samples (``world.scatter``), in pieces."""
    piece = max(1, AT_ONCE // (4 * world.law.covariance.numel()))
    for k, start in enumerate(range(0, trial.n, piece)):
        count = min(piece, trial.n - start)
        yield world.scatter(size, stream=trial.stream.child("scatter", size, k), count=(count,), device=trial.device)


def fit(batch: Batch, given: Iterable[str]) -> Tensor:
    """Least-squares weights of each replicate on the modalities of S, no intercept: [*batch_shape, d_S]."""
    return least_squares(batch.only(given).stacked(), batch.y).weights


def population_error(law: GaussianLaw, weights: Tensor, given: Iterable[str]) -> Tensor:
    """E(y − ŵᵀx_S)² by expanding the square with the law's moments: no conditioning, hence no exact answer, is used."""
    cov, cross = law.block(given)
    return law.variance - 2 * weights @ cross + ((weights @ cov) * weights).sum(-1)


def crossing(differences: Mapping[int, Interval]) -> Interval:
    """The bracket in which a difference that is negative for small n and positive for large n changes sign.

    From the last n at which it is certainly negative to the first beyond it at which it is certainly positive; open where neither
    happened. The alphas of all differences add.
    """
    alpha = sum(d.alpha for d in differences.values())
    below = max((n for n, d in differences.items() if d.high < 0), default=float("-inf"))
    above = min((n for n, d in differences.items() if d.low > 0 and n > below), default=float("inf"))
    return Interval(below, above, alpha)
