"""R1.8: conditionals that are nearly right give a Gibbs chain whose joint law is nearly right, in proportion, where the chain mixes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import gibbs_chain
from mmtheory.stats import Interval, Relation
from synthetic.worlds import SelectionTable, Table

from .conditional_loss import pair_law
from .optima import blocks

ERRORS = (0.1, 0.01, 0.001)


@final
@dataclass(frozen=True)
class Convergence(Claim[SelectionTable | Table]):
    r"""If both conditionals are within ε of the law's in total variation, the stationary joint law is within ε(1 + 2τ) of the law.

    .. math:: \tau = \max_{i,j} \tfrac12 \|Z_i - Z_j\|_1, \qquad Z = (I - T + 1\pi^\top)^{-1}

    for T the law's own chain x → y → x': from :math:`\pi' - \pi = \pi'(T' - T)Z`, with rows of T' within 2ε of those of T. So the joint law
    converges when the conditionals do, which is Theorem 1, at a price that grows without bound as the support falls apart.

    Left: the largest distance over conditionals mixed with random deterministic ones, stationary laws by squaring the chain.

    :param factor: of the slack; 1 is the statement.
    :param memory: whether τ is the chain's own; without, it is 1, as if the chain forgot its start at once.
    """

    factor: float = 1.0
    memory: bool = True

    def analytic(self, world: SelectionTable | Table) -> Sides:
        return {f"distance at error {e:g}": Interval.exact(0.0) for e in ERRORS}

    def empirical(self, world: SelectionTable | Table, trial: Trial) -> Sides:
        law = pair_law(world)
        forth, back = law / law.sum(1, keepdim=True), law.mT / law.sum(0)[:, None]
        price = 1 + 2 * (memory_of(law) if self.memory else 1.0)
        sides: dict[str, Interval] = {}
        for e in ERRORS:
            draws = trial.stream.child(f"{e:g}", trial.n).draws()
            near = [
                (1 - e) * p + e * _certain(draws.uniform(name, trial.n, len(p)), p.shape[1])
                for name, p in (("y", forth), ("x", back))
            ]
            joint = _stationary(near[0] @ near[1])[..., None] * near[0]
            distance = (joint - law).abs().sum((-2, -1)).max() / 2
            sides[f"distance at error {e:g}"] = Interval.exact(float(distance) - self.factor * e * price)
        return sides

    def controls(self) -> tuple[Control, ...]:
        apart = replace(self, id=f"{self.id}!memory", memory=False, world=blocks(0.002))
        return (
            Control("slack × 0.01", self.tightened(0.01), self.world),
            Control("a chain that hardly leaves its block, taken to forget at once", apart, apart.world),
        )

    def tightened(self, factor: float) -> Convergence:
        return replace(self, id=f"{self.id}!slack × {factor:g}", factor=factor)


def memory_of(law: Tensor) -> float:
    """τ of the law's chain: how far a start's effect adds up over all sweeps."""
    chain, start = gibbs_chain(law), law.sum(1)
    z = torch.linalg.inv(torch.eye(len(start)).to(law) - chain + start)
    return float((z[:, None] - z[None]).abs().sum(-1).max()) / 2


def _certain(uniform: Tensor, symbols: int) -> Tensor:
    """Deterministic conditionals, [n, rows, symbols]."""
    return torch.nn.functional.one_hot((uniform * symbols).long(), symbols).to(uniform)


def _stationary(chain: Tensor) -> Tensor:
    for _ in range(20):
        chain = chain @ chain
        chain = chain / chain.sum(-1, keepdim=True)
    return chain[..., 0, :]


CONVERGENCE: Claim[Any] = Convergence(
    id="R1.8",
    source=Source("sohn2014", "Theorem 1, converging conditionals; the rate derived here", "recalled"),
    statement="Conditionals within ε of the law's give a joint law within ε(1 + 2τ) of it, τ being the memory of the law's own Gibbs chain.",
    world=SelectionTable(symbols=4),
    budgets={"small": Budget(500, 500), "full": Budget(5000, 5000)},
    relation=Relation.AT_MOST,
    unit="pairs of conditionals",
)
