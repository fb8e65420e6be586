"""R1.4 and R1.5: where minVI and maximum likelihood do not have the same optimum."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import conditional_losses, joint_loss, variation_of_information
from mmtheory.stats import Interval
from synthetic.worlds import Table

from .conditional_loss import pair_law

WEIGHTS = (0.3, 0.5, 0.9)


def blocks(leak: float) -> Table:
    """Two blocks of two by two symbols, the label naming the block of a, and this much mass between them."""
    inside = (((0.24, 0.06), (0.12, 0.18)), ((0.04, 0.2), (0.12, 0.04)))
    table = torch.full((4, 4), leak / 8, dtype=torch.float64)
    table[:2, :2], table[2:, 2:] = ((1 - leak) * torch.tensor(part, dtype=torch.float64) for part in inside)
    label = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    nested = tuple(tuple(tuple(cell) for cell in row) for row in (table[..., None] * label[:, None]).tolist())
    return Table("joint", joint=nested)


@final
@dataclass(frozen=True)
class BlocksApart(Claim[Table]):
    r"""Where the support falls into two blocks, L_VI does not see the weight of the blocks, and the likelihood does.

    .. math:: L_{VI}(w) = VI \text{ for every } w, \qquad \mathrm{NLL}(w) - H = D(w_0 \| w)

    The model has the law's blocks with weights w and 1 − w. So minVI does not determine the joint law, and its Gibbs chain never leaves
    the block it starts in.
    """

    def analytic(self, world: Table) -> Sides:
        law = pair_law(world)
        own = float(law[:2].sum())
        flat = Interval.exact(float(variation_of_information(law)), 1e-12)
        sides = {f"loss at w={w:g}": flat for w in WEIGHTS}
        for w in WEIGHTS:
            excess = own * math.log(own / w) + (1 - own) * math.log((1 - own) / (1 - w))
            sides[f"likelihood at w={w:g}"] = Interval.exact(excess, 1e-12)
        return sides

    def empirical(self, world: Table, trial: Trial) -> Sides:
        law, sides = pair_law(world), dict[str, Interval]()
        first = torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)[:, None]
        least = joint_loss(law, law)
        for w in WEIGHTS:
            parts = law * first, law * (1 - first)
            model = w * parts[0] / parts[0].sum() + (1 - w) * parts[1] / parts[1].sum()
            forth, back = conditional_losses(law, model)
            sides[f"loss at w={w:g}"] = Interval.exact(float(forth + back), 1e-12)
            sides[f"likelihood at w={w:g}"] = Interval.exact(float(joint_loss(law, model) - least), 1e-12)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (Control("blocks that leak", replace(self, id=f"{self.id}!leak"), blocks(0.05)),)


@final
@dataclass(frozen=True)
class Misspecified(Claim[Table]):
    r"""In a family that lacks the law, the two optima differ: for :math:`q_\theta(x,y) \propto e^{\theta xy}` on two bits

    .. math:: \theta_{\rm ML} = \ln\frac{3p_{11}}{1-p_{11}}, \qquad \theta_{VI} = \ln\frac{2p_{11}}{p_{1\cdot} + p_{\cdot1} - 2p_{11}}

    They agree only if the law is in the family. Left: golden-section minima of both losses by enumeration.

    :param one: whether the analytic side takes the likelihood's optimum for both, as with a well-specified model.
    """

    one: bool = False

    def analytic(self, world: Table) -> Sides:
        p = pair_law(world)
        both, total = float(p[1, 1]), float(p[1].sum() + p[:, 1].sum())
        likely = math.log(3 * both / (1 - both))
        varied = likely if self.one else math.log(2 * both / (total - 2 * both))
        return {"maximum likelihood": Interval.exact(likely, 1e-12), "minVI": Interval.exact(varied, 1e-12)}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        law = pair_law(world)

        def model(theta: float) -> Tensor:
            table = torch.ones(2, 2, dtype=torch.float64)
            table[1, 1] = math.exp(theta)
            return table

        return {
            "maximum likelihood": Interval.exact(least(lambda t: float(joint_loss(law, model(t))))),
            "minVI": Interval.exact(least(lambda t: float(torch.stack(conditional_losses(law, model(t))).sum()))),
        }

    def controls(self) -> tuple[Control, ...]:
        return (Control("one optimum for both", replace(self, id=f"{self.id}!one", one=True), self.world),)


def least(loss: Callable[[float], float], low: float = -6.0, high: float = 6.0) -> float:
    """Where a unimodal function is least, by golden sections."""
    part = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        one, two = high - part * (high - low), low + part * (high - low)
        low, high = (low, two) if loss(one) < loss(two) else (one, high)
    return (low + high) / 2


BLOCKS_APART: Claim[Any] = BlocksApart(
    id="R1.4",
    source=Source("sohn2014", "a counter-example without the connected support that Theorem 1 needs", "derived here"),
    statement="On a block-diagonal law the minVI loss is the same at every weight of the blocks; the likelihood is not.",
    world=blocks(0.0),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-9,
    unit="computations",
)

MISSPECIFIED: Claim[Any] = Misspecified(
    id="R1.5",
    source=Source("sohn2014", "the common optimum, without a well-specified model", "derived here"),
    statement="In a one-parameter family that lacks the law, minVI and maximum likelihood have different optima, both in closed form.",
    world=Table("bsc", flip=(0.1, 0.25)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-6,
    unit="computations",
)
