"""Looking more than once: alpha spent over looks, and a betting e-process that may be looked at always."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._bounded import check_draws
from ._interval import Interval


def look_alpha(alpha: float, look: int) -> float:
    """What the k-th look may spend, alpha/2^k: all looks together err with probability at most alpha, whenever they stop.

    >>> [look_alpha(0.08, k) for k in (1, 2, 3)]
    [0.04, 0.02, 0.01]
    """
    if look < 1:
        raise ArgumentError(f"look_alpha: expected look >= 1, found {look}")
    return alpha / 2**look


def betting_process(draws: Tensor, mean: float) -> Tensor:
    r"""The wealth of a gambler who bets that bounded draws have a mean above ``mean``.

    .. math:: E_N = \prod_{t \le N} (1 + \lambda_t (X_t - \mu)), \qquad \lambda_t \in [0, \tfrac{1}{2\mu}] \text{ predictable}

    Under any mean at most ``mean`` it is a non-negative supermartingale started at 1, so that P(sup_N E_N >= 1/α) <= α (Ville): rejecting
    at 1/α is valid at any stopping time. The bets follow the running mean and variance of the past (approximate growth-rate optimal).

    Shape: draws [*batch, n] in [0, 1] to [*batch, n].

    :param mean: the bound μ in (0, 1) that is to be refuted.
    :raises ArgumentError: mean outside (0, 1).

    Source: Waudby-Smith and Ramdas 2024 (betting), with the cap chosen here.

    >>> float(betting_process(torch.ones(40), 0.5)[-1]) > 1e6
    True
    """
    if not 0 < mean < 1:
        raise ArgumentError(f"betting_process: expected a mean in (0, 1), found {mean}")
    x = draws.double()
    n = x.shape[-1]
    t = torch.arange(1, n + 1, dtype=torch.float64, device=x.device)
    # Half a pseudo-draw of mean ½ and variance ¼ keeps the first bets finite; the shift makes each bet depend on the past alone.
    running = (0.5 + x.cumsum(-1)) / (t + 1)
    spread = (0.25 + ((x - running) ** 2).cumsum(-1)) / (t + 1)
    before = torch.cat([torch.full_like(running[..., :1], 0.5), running[..., :-1]], dim=-1)
    variance = torch.cat([torch.full_like(spread[..., :1], 0.25), spread[..., :-1]], dim=-1)
    lead = before - mean
    bets = (lead / (variance + lead**2)).clamp(0, 1 / (2 * mean))
    return (1 + bets * (x - mean)).log().cumsum(-1).exp()


def betting_interval(draws: Tensor, *, alpha: float, grid: int = 1000) -> Interval:
    """Anytime-valid interval for the mean of draws in [0, 1]: the means that neither gambler has refuted at any time so far.

    One gambler bets on a higher mean, one on a lower, each at alpha/2. Refuted means form a lower and an upper set (made monotone over
    the grid, which only widens the interval), and the grid's own width is added.

    Shape: draws [n].

    >>> 0.3 in betting_interval((torch.arange(500) % 10 < 3).double(), alpha=0.01)
    True
    """
    check_draws("betting_interval", draws.numel(), 1, alpha)
    means = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
    above = torch.tensor([float(betting_process(draws, float(m)).max()) for m in means]) >= 2 / alpha
    below = torch.tensor([float(betting_process(1 - draws, float(1 - m)).max()) for m in means]) >= 2 / alpha
    low = int((~above).nonzero()[0]) if bool((~above).any()) else grid - 1
    high = int((~below).nonzero()[-1]) if bool((~below).any()) else 0
    low, high = min(low, high), max(low, high)
    return Interval(max(0.0, float(means[low]) - 1 / grid), min(1.0, float(means[high]) + 1 / grid), alpha)
