"""The two learners of the linear connection, for many replicates at once, judged by the law's own parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmtheory.bounds import least_squares
from mmtheory.claims import Trial
from mmtheory.stats import Interval, student
from synthetic.claims._fits import data_sets
from synthetic.worlds import ConnectionLinear


def excess_risks(world: ConnectionLinear, trial: Trial, *, labelled: bool = True) -> tuple[Tensor, Tensor]:
    """Excess risk over E[y | a] of least squares on a, and of two stages, one a replicate.

    :param labelled: False gives both stages the true β, as with infinitely many labels; the first tensor is then empty.
    """
    device = trial.device
    w, beta = world.connection.to(device), world.readout.to(device)
    target, width = w.T @ beta, world.d + world.q
    pairs = data_sets(world, world.m, width, at(trial, "unlabelled"))
    connection = torch.cat([least_squares(part.x["a"], part.x["b"]).weights for part in pairs])
    if not labelled:
        gap = connection @ beta - target
        return gap.new_empty(0), (gap**2).sum(-1)
    direct: list[Tensor] = []
    readout: list[Tensor] = []
    for part in data_sets(world, world.n, width, at(trial, "labelled")):
        direct.append(least_squares(part.x["a"], part.y).weights)
        readout.append(least_squares(part.x["b"], part.y[..., None]).weights)
    staged = (connection @ torch.cat(readout))[..., 0]
    return ((torch.cat(direct) - target) ** 2).sum(-1), ((staged - target) ** 2).sum(-1)


def at(trial: Trial, *names: str | int) -> Trial:
    """The same trial with a stream of its own."""
    return Trial(trial.n, trial.alpha, trial.stream.child(*names), trial.device)


def log_mean(values: Tensor, *, alpha: float) -> Interval:
    """Interval for the logarithm of a positive mean."""
    return logarithm(student(values, alpha=alpha))


def relative(difference: Interval, of: Interval) -> Interval:
    """A difference as a share of a positive quantity; unbounded when that is not known to be positive."""
    if of.low <= 0:
        return Interval(-math.inf, math.inf, difference.alpha + of.alpha)
    ends = [d / b for d in (difference.low, difference.high) for b in (of.low, of.high)]
    return Interval(min(ends), max(ends), difference.alpha + of.alpha)


def logarithm(mean: Interval) -> Interval:
    """The logarithm of a positive quantity's interval; what is not known to be positive has no lower end."""
    ends = torch.tensor([max(mean.low, 0.0), max(mean.high, 0.0)], dtype=torch.float64).log()
    return Interval(float(ends[0]), float(ends[1]), mean.alpha)
