"""C1.5: exact empirical risk minimisers are monotone in the modality set, which is what assumption A3 buys."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.bounds import least_squares, logistic_regression
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Histogram

from ._votes import Votes, pairs, votes

Learner = Literal["majority", "least squares", "logistic", "parity"]


@final
@dataclass(frozen=True)
class ErmMonotone(Claim[Histogram]):
    r"""r̂(f̂_M) ≤ r̂(f̂_N) for N ⊂ M, in every single sample.

    Left: the largest r̂(f̂_M) − r̂(f̂_N) over all replicates, for the majority vote, least squares and logistic regression on one-hot
    symbols, each certified to be a minimiser; no error probability is needed.

    :param learners: which ones; ``parity`` labels by the parity of the symbols alone, a class that is not closed under dropping a modality.
    """

    size: int = 60
    learners: tuple[Learner, ...] = ("majority", "least squares", "logistic")

    def analytic(self, world: Histogram) -> Sides:
        return {f"{learner}: {name}": Interval.exact(0.0) for learner in self.learners for name in pairs(world)}

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        largest = dict.fromkeys(self.analytic_names(world), float("-inf"))
        for stack in votes(world, self.size, trial):
            for learner in self.learners:
                for name, (more, fewer) in pairs(world).items():
                    rise = _loss(learner, stack, more) - _loss(learner, stack, fewer)
                    key = f"{learner}: {name}"
                    largest[key] = max(largest[key], float(rise.max()))
        return {name: Interval.exact(value) for name, value in largest.items()}

    def analytic_names(self, world: Histogram) -> list[str]:
        """The cases."""
        return [f"{learner}: {name}" for learner in self.learners for name in pairs(world)]

    def controls(self) -> tuple[Control, ...]:
        open_class = replace(self, id=f"{self.id}!class not closed", learners=("parity",))
        return (Control("class not closed under dropping a modality", open_class, self.world),)


def _loss(learner: Learner, stack: Votes, given: frozenset[str]) -> Tensor:
    """Empirical risk of the learner's exact minimiser on the modalities of S, [R]."""
    if learner == "majority":
        return stack.empirical_risk(given)
    if learner == "parity":
        return _parity(stack, given)
    world = stack.world
    cells = torch.cartesian_prod(*(torch.arange(a) for a in world.cells)).view(-1, len(world.cells))
    columns = [torch.ones(len(cells), 1, dtype=torch.float64)]
    for i, (m, a) in enumerate(zip(world.modalities, world.cells, strict=True)):
        if m in given:
            columns.append(torch.nn.functional.one_hot(cells[:, i], a)[:, 1:].double())
    design = torch.cat(columns, -1)
    weight = stack.counts.flatten(-len(world.cells) - 1, -2)
    return _weighted(learner, design, weight)


def _weighted(learner: Learner, design: Tensor, weight: Tensor) -> Tensor:
    """Least mean loss over a design whose row c was seen weight[c, k] times with label k; a small ridge makes the minimiser unique."""
    total = weight.sum((-1, -2))
    rows = design.expand(*weight.shape[:-2], *design.shape)
    if learner == "least squares":
        root = weight.sum(-1).sqrt()
        target = torch.where(root > 0, weight[..., 1] / root.clamp(min=1e-300), torch.zeros_like(root))
        ridge = 1e-4 * torch.eye(design.shape[-1], dtype=torch.float64).expand(*weight.shape[:-2], -1, -1)
        x = torch.cat([root.unsqueeze(-1) * rows, ridge.sqrt()], dim=-2)
        y = torch.cat([target, torch.zeros_like(ridge[..., 0])], dim=-1)
        fit = least_squares(x, y)
        rest = weight[..., 1].sum(-1) - (target**2).sum(-1)
        return (((y - (x @ fit.weights.unsqueeze(-1)).squeeze(-1)) ** 2).sum(-1) + rest) / total
    raise_rows = torch.cat([rows, rows], dim=-2)
    labels = torch.cat([torch.zeros_like(weight[..., 0]), torch.ones_like(weight[..., 1])], dim=-1)
    return _logistic(raise_rows, labels, torch.cat([weight[..., 0], weight[..., 1]], dim=-1))


def _logistic(rows: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Least logistic loss of samples listed one by one, [R]."""
    index = torch.repeat_interleave(torch.arange(rows.shape[-2]).repeat(rows.shape[0]), weight.flatten().long()).view(
        rows.shape[0], -1
    )
    x = rows.gather(-2, index.unsqueeze(-1).expand(*index.shape, rows.shape[-1]))
    return logistic_regression(x, labels.gather(-1, index), ridge=1e-3).loss


def _parity(stack: Votes, given: frozenset[str]) -> Tensor:
    """Labels by the parity of the symbols of S: two rules, the better of them on the sample."""
    world = stack.world
    index = torch.stack(torch.meshgrid(*(torch.arange(a) for a in world.cells), indexing="ij"))
    chosen = [i for i, m in enumerate(world.modalities) if m in given]
    parity = (index[chosen].sum(0) % 2).double().expand(*stack.counts.shape[:-1])
    one, other = (world.empirical_risk(labels, stack.counts) for labels in (parity, 1 - parity))
    return torch.minimum(one, other)


ERM_MONOTONE: Claim[Any] = ErmMonotone(
    id="C1.5",
    source=Source("huang2021", "assumption A3 and its corollary", "known"),
    statement="With exact empirical risk minimisation over closed classes, more modalities never have a larger empirical risk.",
    world=Histogram(),
    budgets={"small": Budget(500, 500), "full": Budget(5000, 5000)},
    relation=Relation.AT_MOST,
    margin=1e-9,
    unit="samples of size 60",
)
