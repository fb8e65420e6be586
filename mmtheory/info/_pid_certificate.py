"""From almost-optimal points to a certified interval: repair both sides to exact feasibility and take the gap."""

from __future__ import annotations

import torch
from torch import Tensor

from ._pid_system import Marginals


def certify(marginals: Marginals, a: Tensor, b: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""(lower bound, upper bound, feasible q) of the least :math:`\sum q \ln q(y|x_1,x_2)` over couplings with these marginals.

    Weak duality needs no trust in the solver: any (a, b), its rows shifted until every constraint holds, bounds from below; any q, scaled
    down to its marginals and topped up by a product, bounds from above.

    Shape: lower and upper [n], q [n, x1, x2, y].

    Source: derived here (the rounding is that of Altschuler et al. 2017, known).
    """
    support = marginals.support
    cell = torch.where(support, a.mT[:, :, None, :] + b.mT[:, None, :, :], -torch.inf)
    worst = cell.logsumexp(-1).amax(-1).nan_to_num(neginf=0.0)
    value = (marginals.first * a).sum((-2, -1)) + (marginals.second * b).sum((-2, -1))
    lower = value - (marginals.first.sum(1) * worst).sum(-1)
    feasible = _projected(marginals, torch.where(support, q.clamp(min=0), 0.0))
    return lower, negative_equivocation(feasible), feasible


def negative_equivocation(q: Tensor) -> Tensor:
    """Σ q ln q(y | x1, x2), zeros counting as zero."""
    ratio = q / q.sum(-1, keepdim=True).clamp(min=1e-300)
    return (q * torch.where(q > 0, ratio.clamp(min=1e-300).log(), 0.0)).sum((-3, -2, -1))


def _projected(marginals: Marginals, q: Tensor) -> Tensor:
    """A coupling with the marginals, near q: rows and columns scaled down to them, the rest filled by a product."""
    first, second = marginals.first.mT, marginals.second.mT
    rows = q.sum(2)
    q = q * torch.where(rows > first, first / rows.clamp(min=1e-300), 1.0)[:, :, None]
    columns = q.sum(1)
    q = q * torch.where(columns > second, second / columns.clamp(min=1e-300), 1.0)[:, None]
    short_rows, short_columns = (first - q.sum(2)).clamp(min=0), (second - q.sum(1)).clamp(min=0)
    lack = short_rows.sum(1)
    share = torch.where(lack > 0, 1 / lack.clamp(min=1e-300), 0.0)
    return q + torch.einsum("niy,njy,ny->nijy", short_rows, short_columns, share)
