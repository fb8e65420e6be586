"""R1.9: what recurrent sweeps predict is a product over units, so multi-prediction stays above the variation of information."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import variation_of_information
from mmtheory.models.rbm import MultimodalRBM, recurrent, states, unseen_loss
from mmtheory.stats import Interval
from synthetic.worlds import Table

from .conditional_loss import pair_law
from .machine import BITS, HIDDEN, labelled, machine

STEPS = 150


def bound_bits() -> Table:
    """Two bits a modality, bound to each other by more than what they say of the other modality: spins with couplings ½ to 1."""
    one, two = (2 * states(BITS) - 1).T
    within = 0.8 * one * two
    across = 0.5 * torch.outer(one, one) + 0.6 * torch.outer(two, two)
    return labelled((within[:, None] + within + across).flatten().softmax(0).reshape(4, 4))


@final
@dataclass(frozen=True)
class FactorialPrediction(Claim[Table]):
    r"""The least multi-prediction loss of a machine, with any number of sweeps, is the variation of information and two total correlations.

    .. math:: \min L_{MP} = \sum_j H(y_j|x) + \sum_i H(x_i|y) = VI + TC(y|x) + TC(x|y)

    Given x, sweeps yield one probability for each unit of y: their law is a product, and the best product is that of the units' own
    conditionals. The lower bound is for every model; that machines of a few hidden units attain it is the part that could fail.

    :param sweeps: numbers of sweeps that are tried, a case each.
    :param product: whether predictions are products over units; without, the analytic side is the variation of information.
    """

    sweeps: tuple[int, ...] = (0, 1, 5)
    product: bool = True

    def analytic(self, world: Table) -> Sides:
        law = pair_law(world)
        least = float(_unit_entropies(law) + _unit_entropies(law.mT) if self.product else variation_of_information(law))
        return {f"least loss, {n} sweeps": Interval.exact(least, 1e-9) for n in self.sweeps}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        law = pair_law(world)
        return {f"least loss, {n} sweeps": Interval.exact(self._trained(law, n, trial)) for n in self.sweeps}

    def _trained(self, law: Tensor, sweeps: int, trial: Trial) -> float:
        draws = trial.stream.child("starts", sweeps).draws(range(trial.n))
        shapes = {"w": (BITS, HIDDEN), "v": (BITS, HIDDEN), "a": (BITS,), "c": (BITS,), "b": (HIDDEN,)}
        live = {name: draws.normal(name, *shape).requires_grad_() for name, shape in shapes.items()}
        optimiser = torch.optim.Adam(list(live.values()), lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        loss = _loss(machine(live), law, sweeps)
        for _ in range(STEPS):
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            schedule.step()
            loss = _loss(machine(live), law, sweeps)
        return float(loss.detach().min())

    def controls(self) -> tuple[Control, ...]:
        joint = replace(self, id=f"{self.id}!joint", sweeps=(5,), product=False)
        return (Control("the variation of information itself", joint, self.world),)


def _unit_entropies(law: Tensor) -> Tensor:
    """Σ_j H(unit j of the second | first), nat."""
    bits = states(BITS).to(law)
    given = law / law.sum(1, keepdim=True)
    on = given @ bits
    entropy = -(torch.xlogy(on, on) + torch.xlogy(1 - on, 1 - on))
    return (law.sum(1)[:, None] * entropy).sum()


def _loss(m: MultimodalRBM, law: Tensor, sweeps: int) -> Tensor:
    """Multi-prediction loss under a law of all states, [starts]."""
    code = states(BITS).to(law).expand(*m.batch_shape, -1, -1)
    total = law.new_zeros(m.batch_shape)
    for given, target, joint in (("x", "y", law), ("y", "x", law.mT)):
        logits = recurrent(m, {given: code}, sweeps=sweeps).logits[target]
        each = unseen_loss(
            logits.unsqueeze(-2).expand(*logits.shape[:-1], 4, BITS),
            code.unsqueeze(-3).expand(*logits.shape[:-1], 4, BITS),
        )
        total = total + (joint * each).sum((-2, -1))
    return total


FACTORIAL: Claim[Any] = FactorialPrediction(
    id="R1.9",
    source=Source(
        "sohn2014", "multi-prediction as a surrogate of the loss; its least value derived here", "derived here"
    ),
    statement="The least multi-prediction loss is the variation of information and the units' total correlations given the other modality.",
    world=bound_bits(),
    budgets={"small": Budget(6, 6), "full": Budget(60, 60)},
    margin=0.02,
    unit="random starts",
)
