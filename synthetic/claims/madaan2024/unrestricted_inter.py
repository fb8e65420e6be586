"""C2.7: an unrestricted inter classifier reaches Bayes by itself, only with more samples than the product of small experts needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Interval, student
from synthetic.worlds import SelectionTable

PRIOR = 0.5
"""What is added to every count of the table classifier (Krichevsky and Trofimov)."""


@final
@dataclass(frozen=True)
class UnrestrictedInter(Claim[SelectionTable]):
    r"""Excess cross-entropy of the table of all cells, exact at every n, and of three experts with one scale each: p/2n with p = M + 1.

    .. math:: E\,\mathrm{CE}_{\rm table} - H(y|x) = \sum_{x,y} p(x,y)\,[\ln p(y|x) - E\ln(K_{xy}+\tfrac12)]
        + \sum_x p(x)\,E\ln(N_x + \tfrac A2), \qquad K_{xy} \sim \mathrm{Bin}(n, p(x,y)),\; N_x \sim \mathrm{Bin}(n, p(x))

    Both vanish like parameters over 2n, so an inter classifier without restriction needs A^M(A−1)/(M+1) times the samples; that, and no
    difference in the limit, is what the experts buy. All numbers are divided by parameters/2n. The experts' is the leading order in n.

    :param free: parameters of the product of experts that the analytic side counts beyond its M + 1; anything but 0 is wrong.
    :param prior: what the analytic side adds to every count; anything but ½ is wrong.
    """

    sizes: tuple[int, ...] = (30, 120, 480)
    free: int = 0
    prior: float = PRIOR

    def analytic(self, world: SelectionTable) -> Sides:
        p = world.table.reshape(-1, world.classes)
        width = _width(world)
        sides = {
            f"table, n={n}": Interval.exact(2 * n * table_excess(p, n, self.prior) / width, 1e-9) for n in self.sizes
        }
        count = len(world.experts)
        return {**sides, f"experts, n={self.sizes[-1]}": Interval.exact((count + self.free) / count)}

    def empirical(self, world: SelectionTable, trial: Trial) -> Sides:
        alpha = trial.alpha / (len(self.sizes) + 1)
        law = world.table.reshape(-1, world.classes)
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            found = counts(world, trial.stream.child(n), n, trial.n)
            smooth = found + PRIOR
            excess = _excess(law, (smooth / smooth.sum(-1, keepdim=True)).log())
            sides[f"table, n={n}"] = student(excess * 2 * n / _width(world), alpha=alpha)
            if n == self.sizes[-1]:
                parts = [e.expand(world.table.shape).reshape(law.shape) for e in world.experts.values()]
                excess = _excess(law, fitted(found, torch.stack(parts, -1)))
                sides[f"experts, n={n}"] = student(excess * 2 * n / len(parts), alpha=alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        alike = replace(self, id=f"{self.id}!alike", free=1)
        laplace = replace(self, id=f"{self.id}!laplace", prior=1.0)
        return (
            Control("one more parameter in the experts", alike, self.world),
            Control("the exact excess of another smoothing", laplace, self.world),
        )


def _width(world: SelectionTable) -> int:
    """Free parameters of the table."""
    return world.symbols ** len(world.kappa) * (world.classes - 1)


def table_excess(law: Tensor, n: int, prior: float) -> float:
    """The exact expected excess of the smoothed table on n samples; law is [cells, classes]."""
    cells = law.sum(-1)
    posterior = law / cells[:, None]
    own = (law * (posterior.log() - _log_count(law, n, prior))).sum()
    return float(own + (cells * _log_count(cells, n, prior * law.shape[-1])).sum())


def _log_count(p: Tensor, n: int, prior: float) -> Tensor:
    """E ln(K + prior) for K ~ Bin(n, p)."""
    k = torch.arange(n + 1, dtype=torch.float64)
    ways = torch.lgamma(torch.tensor(n + 1.0)) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    chance = ways + k * p[..., None].log() + torch.special.xlog1py(n - k, -p[..., None])
    return (chance.exp() * (k + prior).log()).sum(-1)


def counts(world: SelectionTable, stream: Stream, n: int, sets: int) -> Tensor:
    """How often each cell and label occur in so many training sets, [sets, cells, classes]."""
    batch = world.sample(n * sets, stream=stream)
    cell = torch.zeros_like(batch.y)
    for symbol in batch.x.values():
        cell = cell * world.symbols + symbol
    size = world.table.numel()
    cell = cell * world.classes + batch.y + size * torch.arange(sets).repeat_interleave(n)
    return torch.bincount(cell, minlength=sets * size).reshape(sets, -1, world.classes).to(torch.float64)


def fitted(found: Tensor, features: Tensor, steps: int = 12) -> Tensor:
    """Log-probabilities of the maximum-likelihood softmax on these features [cells, classes, p], [sets, cells, classes]."""
    theta = found.new_zeros(found.shape[0], features.shape[-1])
    total = found.sum(-1, keepdim=True)
    for _ in range(steps):
        p = (features @ theta[:, None, :, None])[..., 0].softmax(-1)
        gradient = torch.einsum("rcy,cyp->rp", found - total * p, features)
        mean = torch.einsum("rcy,cyp->rcp", p, features)
        second = torch.einsum("rcy,cyp,cyq->rpq", total * p, features, features)
        hessian = second - torch.einsum("rc,rcp,rcq->rpq", total[..., 0], mean, mean)
        eye = torch.eye(features.shape[-1], dtype=torch.float64)
        theta = theta + torch.linalg.solve(hessian + 1e-9 * eye, gradient).clamp(-2, 2)
    return (features @ theta[:, None, :, None])[..., 0].log_softmax(-1)


def _excess(law: Tensor, logs: Tensor) -> Tensor:
    """Population excess cross-entropy of stated log-probabilities, [sets]."""
    return (law * ((law / law.sum(-1, keepdim=True)).log() - logs)).sum((-2, -1))


UNRESTRICTED_INTER: Claim[Any] = UnrestrictedInter(
    id="C2.7",
    source=Source("madaan2024", "an inter classifier without restriction, on tables", "derived here"),
    statement="The table of all cells reaches Bayes with an exact excess near parameters/2n; three small experts do with fewer samples.",
    world=SelectionTable(),
    budgets={"small": Budget(2000, 8000), "full": Budget(16000, 64000)},
    margin=0.15,
    unit="training sets",
)
