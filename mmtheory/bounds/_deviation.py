"""Uniform deviation and PAC-Bayes: how far true risks can be from empirical ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def uniform_deviation(complexity: float, m: int, delta: float, *, bound: float = 1.0, empirical: bool = False) -> float:
    r"""What r − r̂ exceeds for no function of the class, with probability at least 1 − δ.

    .. math:: 2R_m(\ell\circ F) + C\sqrt{\tfrac{\ln(1/\delta)}{2m}} \quad\text{or, with the empirical complexity,}\quad
        2\hat R_S(\ell\circ F) + 3C\sqrt{\tfrac{\ln(2/\delta)}{2m}}

    Source: Bartlett and Mendelson 2002 (known).

    >>> round(uniform_deviation(0.1, 200, math.exp(-1)), 3)
    0.25
    """
    if complexity < 0 or m < 1 or not 0 < delta < 1 or bound < 0:
        raise ArgumentError(
            f"uniform_deviation: expected complexity, bound >= 0, m >= 1, delta in (0, 1), found {complexity}, {bound}, {m}, {delta}"
        )
    log, factor = (math.log(2 / delta), 3.0) if empirical else (math.log(1 / delta), 1.0)
    return 2 * complexity + factor * bound * math.sqrt(log / (2 * m))


def binary_divergence(p: Tensor, q: Tensor) -> Tensor:
    """kl(p ‖ q) between coins, nat; 0 ln 0 = 0.

    >>> binary_divergence(torch.tensor(0.5), torch.tensor(0.5)).item()
    0.0
    """
    return torch.special.xlogy(p, p / q) + torch.special.xlogy(1 - p, (1 - p) / (1 - q))


def inverse_divergence(p: Tensor, budget: Tensor) -> Tensor:
    """The largest q ≥ p with kl(p ‖ q) ≤ budget, by bisection to the last bit, rounded up. Shape: [*batch].

    >>> round(inverse_divergence(torch.tensor(0.0, dtype=torch.float64), torch.tensor(0.1, dtype=torch.float64)).item(), 6)
    0.095163
    """
    p, budget = torch.broadcast_tensors(p.double(), budget.double())
    low, high = p.clone(), torch.ones_like(p)
    for _ in range(60):
        middle = (low + high) / 2
        inside = binary_divergence(p, middle) <= budget
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return high


def pac_bayes(gibbs_risk: Tensor, divergence: Tensor, n: int, delta: float, *, relaxed: bool = False) -> Tensor:
    r"""Upper bound on the risk of the posterior's Gibbs predictor, for every posterior at once, with probability at least 1 − δ.

    .. math:: \mathrm{kl}(\hat r(Q)\,\|\,r(Q)) \le \frac{\mathrm{KL}(Q\|P) + \ln(2\sqrt n/\delta)}{n}

    :param gibbs_risk: r̂(Q) on the sample, in [0, 1].
    :param divergence: KL(Q ‖ P), nat.
    :param relaxed: Pinsker's weaker closed form r̂ + √(budget/2).
    :raises ArgumentError: n < 8, where the constant is not proven.

    Source: Maurer 2004 (known).
    """
    if n < 8 or not 0 < delta < 1:
        raise ArgumentError(f"pac_bayes: expected n >= 8 and delta in (0, 1), found {n}, {delta}")
    budget = (divergence + math.log(2 * math.sqrt(n) / delta)) / n
    return gibbs_risk + (budget / 2).sqrt() if relaxed else inverse_divergence(gibbs_risk, budget)


def gaussian_divergence(mean: Tensor, prior_mean: Tensor, posterior_scale: float, prior_scale: float) -> Tensor:
    r"""KL between isotropic Gaussians; over modalities with product prior and posterior it is the sum over modalities.

    .. math:: \tfrac12\left[d(s - 1 - \ln s) + \|\hat w - w_0\|^2/\sigma_P^2\right], \qquad s = \sigma_Q^2/\sigma_P^2

    Shape: means [*batch, d].

    >>> gaussian_divergence(torch.zeros(3), torch.zeros(3), 1.0, 1.0).item()
    0.0
    """
    s = (posterior_scale / prior_scale) ** 2
    shift = ((mean - prior_mean) ** 2).sum(-1) / prior_scale**2
    return 0.5 * (mean.shape[-1] * (s - 1 - math.log(s)) + shift)


def gibbs_risk(weights: Tensor, x: Tensor, y: Tensor, scale: float) -> Tensor:
    r"""Exact share of errors of sign(⟨w, x⟩) with w ~ N(ŵ, σ²I), on the sample.

    .. math:: \hat r(Q) = \frac1n\sum_i \Phi\!\left(-\frac{y_i\langle \hat w, x_i\rangle}{\sigma\|x_i\|}\right)

    Shape: weights [*batch, d], x [*batch, n, d], y [*batch, n] of ±1 to [*batch].

    Source: Langford 2005 (known).
    """
    margin = y * (x @ weights.unsqueeze(-1)).squeeze(-1) / (scale * torch.linalg.vector_norm(x, dim=-1))
    return torch.special.ndtr(-margin).mean(-1)
