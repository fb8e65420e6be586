"""Drawing a fixed number of units without replacement, for every replicate at once."""

from __future__ import annotations

import torch
from torch import Tensor


def inclusion(weights: Tensor, count: Tensor) -> Tensor:
    r"""Probabilities of being drawn that are proportional to the weights, cut at one and filled up again.

    .. math:: \pi_i = \min(1, c\,w_i), \qquad \sum_i \pi_i = k

    Those that are cut are exactly 1. By sorting: with the j heaviest cut, c = (k − j)/Σ_{i>j} w_i, and the smallest j that cuts nobody
    else is right.

    Shape: weights [*batch, n] > 0, count [*batch] in [1, n] to [*batch, n].

    Source: textbook (probability proportional to size).

    >>> inclusion(torch.tensor([6.0, 1.0, 1.0]).double(), torch.tensor(2.0).double()).tolist()
    [1.0, 0.5, 0.5]
    """
    ordered = weights.sort(-1, descending=True).values
    rest = ordered.flip(-1).cumsum(-1).flip(-1)
    cut = torch.arange(weights.shape[-1], device=weights.device, dtype=weights.dtype)
    level = (count.unsqueeze(-1) - cut) / rest
    fits = level * ordered <= 1 + 1e-12
    first = fits.to(torch.int8).argmax(-1, keepdim=True)
    pi = level.gather(-1, first) * weights
    everybody = (count >= weights.shape[-1]).unsqueeze(-1)
    return torch.where((pi > 1 - 1e-12) | everybody, torch.ones_like(pi), pi)


def systematic_draw(pi: Tensor, start: Tensor, order: Tensor) -> Tensor:
    """A random set in which each unit is with its own probability exactly; its size is Σ π, which is whole.

    Units stand on a line in random order, each with the length π_i; a comb with teeth at start, start + 1, … picks them.

    Shape: pi [*batch, n], start [*batch] and order [*batch, n] uniform on [0, 1) to bool [*batch, n].

    Source: Madow 1949.

    >>> systematic_draw(torch.tensor([0.5, 0.5, 1.0]), torch.tensor(0.7), torch.tensor([0.1, 0.2, 0.3])).tolist()
    [False, True, True]
    """
    place = order.argsort(-1)
    ends = pi.gather(-1, place).cumsum(-1)
    ends[..., -1] = ends[..., -1].round()
    before = torch.cat([torch.zeros_like(ends[..., :1]), ends[..., :-1]], dim=-1)
    first = start.unsqueeze(-1)
    hit = (ends - first).ceil() > (before - first).ceil()
    drawn = torch.zeros_like(hit).scatter(-1, place, hit)
    return drawn | (pi >= 1)


def sequential_draw(weights: Tensor, count: Tensor, uniform: Tensor) -> Tensor:
    """The first ``count`` units drawn one after another without replacement, each time in proportion to the weights of those left.

    The order of log w_i + Gumbel noise is the order of such draws.

    Shape: weights [*batch, n], count [*batch], uniform [*batch, n] on [0, 1) to bool [*batch, n].

    Source: textbook (Gumbel's trick).

    >>> sequential_draw(torch.tensor([1.0, 1e-9]), torch.tensor(1.0), torch.tensor([0.5, 0.5])).tolist()
    [True, False]
    """
    gumbel = -(-uniform.clamp(min=torch.finfo(uniform.dtype).tiny).log()).log()
    rank = (weights.log() + gumbel).argsort(-1, descending=True).argsort(-1)
    return rank < count.unsqueeze(-1)
