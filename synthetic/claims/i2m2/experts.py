"""R6.1 and R6.2: the prior counts once in a product of experts, and experts of one modality each know nothing of a parity."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import kullback_leibler, pooled_posterior, product_of_experts
from mmtheory.stats import Interval
from synthetic.claims.madaan2024.unrestricted_inter import fitted
from synthetic.worlds import SelectionTable, Table


def three_views(interaction: float = 0.0) -> Table:
    """Three symbols independent given one of three unequal classes; ``interaction`` ties the first two together given the class."""
    digit = torch.arange(3, dtype=torch.float64)
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    views = [torch.softmax(torch.cos(k + digit[:, None] * (digit + 1.0 + k)), 0) for k in range(3)]
    table = torch.einsum("ay,by,cy,y->abcy", *views, prior)
    same = torch.eye(3, dtype=torch.float64)[:, :, None, None] * (digit - 1)
    table = table * torch.exp(interaction * same)
    return Table("joint", joint=_tuples((table / table.sum()).tolist()))


def _tuples(value: Any) -> Any:  # noqa: ANN401 (a nested list of any depth)
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


@final
@dataclass(frozen=True)
class PriorOnce(Claim[Table]):
    r"""With modalities independent given the class, the product of unimodal posteriors over p(y)^(M−1) is the posterior.

    Cases: the mean divergence of the corrected product from the posterior, and the log-odds of each class against the first by which the
    bare product is off, (M−1) ln p(y)/p(y₀).

    :param power: how often the prior is taken out beyond the right number; anything but 0 is wrong.
    """

    power: float = 0.0

    def analytic(self, world: Table) -> Sides:
        prior = world.table.flatten(0, -2).sum(0).log()
        extra = len(world.modalities) - 1
        shift = {f"bare product, class {k}": extra * float(prior[k] - prior[0]) for k in range(1, len(prior))}
        return {"corrected product": Interval.exact(0.0)} | {k: Interval.exact(v, 1e-12) for k, v in shift.items()}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        law, axes = world.table, range(world.table.dim() - 1)
        weight, truth = law.sum(-1), (law / law.sum(-1, keepdim=True)).log()
        each: list[Tensor] = []
        for axis in axes:
            joint = law.sum([k for k in axes if k != axis], keepdim=True)
            each.append((joint / joint.sum(-1, keepdim=True)).log().expand_as(law))
        stacked, prior = torch.stack(each, -2), law.flatten(0, -2).sum(0).log()
        pooled = pooled_posterior(stacked, prior) - self.power * prior
        lost = kullback_leibler(truth.exp(), pooled.log_softmax(-1).exp())
        off = product_of_experts(stacked) - truth
        sides = {"corrected product": float((weight * lost).sum())}
        sides |= {
            f"bare product, class {k}": float((weight * (off[..., k] - off[..., 0])).sum())
            for k in range(1, len(prior))
        }
        return {case: Interval.exact(value, 1e-12) for case, value in sides.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("the prior taken out M times", replace(self, id=f"{self.id}!M", power=1.0), self.world),
            Control("modalities tied given the class", replace(self, id=f"{self.id}!tied"), three_views(0.5)),
        )


@final
@dataclass(frozen=True)
class Parity(Claim[SelectionTable]):
    r"""Two fair bits whose label is their parity with probability σ(λ): what each kind of expert can do.

    Cases: the least cross-entropy with experts of one modality each is ln 2, with an inter expert H(y|x); the best accuracy of any
    additive log-odds is nevertheless (1 + 2σ(λ))/4, three cells of four, above the coin that its cross-entropy minimiser is; with the
    inter expert it is σ(λ).

    :param coin: whether the analytic side believes that additive experts are coins, as their minimiser suggests.
    """

    lams: tuple[float, ...] = (1.0, 4.0)
    coin: bool = False

    def analytic(self, world: SelectionTable) -> Sides:
        sides: dict[str, Interval] = {}
        for lam in self.lams:
            here = replace(world, lam=lam)
            right = -here.known("bayes_risk", "ab") + 1
            sides[f"intra loss, λ={lam:g}"] = Interval.exact(math.log(2), 1e-12)
            sides[f"all experts' loss, λ={lam:g}"] = here.known("posterior_entropy", "ab")
            sides[f"best additive accuracy, λ={lam:g}"] = Interval.exact(0.5) if self.coin else right * 0.5 + 0.25
            sides[f"best accuracy, λ={lam:g}"] = right
        return sides

    def empirical(self, world: SelectionTable, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for lam in self.lams:
            law = replace(world, lam=lam).table.reshape(4, 2)
            for case, columns in (("intra", 2), ("all experts'", 3)):
                logs = fitted(law[None], _features()[..., :columns], steps=40)[0]
                sides[f"{case} loss, λ={lam:g}"] = Interval.exact(-float((law * logs).sum()), 1e-9)
            table = law.reshape(2, 2, 2)
            sides[f"best additive accuracy, λ={lam:g}"] = Interval.exact(_best(table, additive=True), 1e-12)
            sides[f"best accuracy, λ={lam:g}"] = Interval.exact(_best(table, additive=False), 1e-12)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (Control("additive experts are coins", replace(self, id=f"{self.id}!coin", coin=True), self.world),)


def _features() -> Tensor:
    """Of the four cells: what a says for label 1, what b says, and what their parity says, [cells, labels, 3]."""
    a = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64) - 0.5
    b = torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64) - 0.5
    label = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    return torch.stack([a, b, a * b * 4], -1)[:, None, :] * label[:, None]


def _best(law: Tensor, *, additive: bool) -> float:
    """The best accuracy of any rule for two bits, or of those that are signs of f(a) + g(b) (no diagonal against the other)."""
    rules = (torch.tensor(bits).reshape(2, 2) for bits in itertools.product((0, 1), repeat=4))
    kept = (r for r in rules if not (additive and _is_parity(r)))
    return max(float(torch.where(rule == 1, law[..., 1], law[..., 0]).sum()) for rule in kept)


def _is_parity(rule: Tensor) -> bool:
    """Whether the rule answers the same on each diagonal and differently on the two."""
    return bool((rule[0, 0] == rule[1, 1]) & (rule[0, 1] == rule[1, 0]) & (rule[0, 0] != rule[0, 1]))


PRIOR_ONCE: Claim[Any] = PriorOnce(
    id="R6.1",
    source=Source(
        "i2m2", "the product of experts with unequal classes (a correction the released code lacks)", "derived here"
    ),
    statement="Unimodal posteriors multiply to the posterior once the prior is taken out M−1 times, if modalities are independent given y.",
    world=three_views(),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-10,
    unit="computations",
)

PARITY: Claim[Any] = Parity(
    id="R6.2",
    source=Source("i2m2", "parity, the extreme of inter-modality dependence", "derived here"),
    statement="On a noisy parity unimodal experts lose all information, though the best additive rule is right in three cells of four.",
    world=SelectionTable(kappa=(0.0, 0.0), symbols=2),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-8,
    unit="computations",
)
