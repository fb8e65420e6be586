"""C7.1b: no competing coupling of a random table carries less information than the solver's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import information, pid
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Table

from ._tables import random_tables

_SWEEPS, _FITTING = 30, 20


@final
@dataclass(frozen=True)
class Optimum(Claim[Table]):
    r"""On random tables of the world's shape, the solver's q is feasible and :math:`I_q \le I_{q'}` for every peer's q'.

    The peers: the table itself, the product coupling, and alternating minimisation (rounded to the exact marginals). Left sides are the worst over all tables.

    :param stopped: let the solver stop at the product coupling (a control).
    """

    stopped: bool = False

    def analytic(self, world: Table) -> Sides:
        return {case: Interval.exact(0.0) for case in ("table", "product", "alternating", "marginals", "certificate")}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        sides = dict.fromkeys(("table", "product", "alternating", "marginals", "certificate"), -torch.inf)
        shape = tuple(world.table.shape)
        for half, spike in (("even", 1.0), ("spiky", 3.0)):
            tables = random_tables(trial.stream.child(half), trial.n, shape, spike=spike)
            peers = {"table": tables, "product": _product(tables), "alternating": _alternating(tables)}
            found = pid(tables)
            q = peers["product"] if self.stopped or found.coupling is None else found.coupling
            ours = _carried(q)
            worst = {name: ours - _carried(peer) for name, peer in peers.items()}
            # The minimum, by the certificate, lies within the gap below what this coupling carries.
            worst["certificate"] = ours - (_carried(tables) - found.synergy) - found.gap
            worst["marginals"] = torch.maximum(
                (q - tables).sum(-2).abs().amax((-2, -1)), (q - tables).sum(-3).abs().amax((-2, -1))
            )
            sides = {case: max(value, float(worst[case].max())) for case, value in sides.items()}
        return {case: Interval.exact(value, 1e-12) for case, value in sides.items()}

    def controls(self) -> tuple[Control, ...]:
        return (Control("solver stopped at the product coupling", replace(self, stopped=True), self.world),)


def _carried(q: Tensor) -> Tensor:
    """I_q(X1 X2; Y)."""
    return information(q.flatten(-3, -2))


def _product(tables: Tensor) -> Tensor:
    label = tables.sum((-3, -2))
    share = torch.where(label > 0, 1 / label.clamp(min=1e-300), 0.0)
    return torch.einsum("niy,njy,ny->nijy", tables.sum(-2), tables.sum(-3), share)


def _alternating(tables: Tensor) -> Tensor:
    """Alternating minimisation: spread every cell's mass evenly over the classes, fit the marginals, again and again."""
    first, second, q = tables.sum(-2, keepdim=True), tables.sum(-3, keepdim=True), _product(tables)
    for _ in range(_SWEEPS):
        q = q.sum(-1, keepdim=True).expand_as(q).clone()
        for _ in range(_FITTING):
            q = q * first / q.sum(-2, keepdim=True).clamp(min=1e-300)
            q = q * second / q.sum(-3, keepdim=True).clamp(min=1e-300)
    return _rounded(q, first, second)


def _rounded(q: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Scaled down to both marginals and topped up by products of what is missing."""
    q = q * (first / q.sum(-2, keepdim=True).clamp(min=1e-300)).clamp(max=1)
    q = q * (second / q.sum(-3, keepdim=True).clamp(min=1e-300)).clamp(max=1)
    rows = (first - q.sum(-2, keepdim=True)).clamp(min=0)
    columns = (second - q.sum(-3, keepdim=True)).clamp(min=0)
    return q + rows * columns / rows.sum(-3, keepdim=True).clamp(min=1e-300)


OPTIMUM: Claim[Any] = Optimum(
    id="C7.1b",
    source=Source("liang2023", "the convex estimator, with our certificate", "derived here"),
    statement="On random tables the solver's coupling is feasible and no peer's carries less information.",
    world=Table("sum"),
    budgets={"small": Budget(200, 200), "full": Budget(3000, 3000)},
    relation=Relation.AT_MOST,
    margin=1e-7,
    unit="tables",
)
