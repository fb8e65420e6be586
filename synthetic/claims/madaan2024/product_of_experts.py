"""C2.1: normalising a product of experts is a softmax of the sum of their logits, and all experts get one gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import product_of_experts
from mmtheory.stats import Interval
from synthetic.worlds import SelectionTable

Rule = Literal["product", "mixture"]


@final
@dataclass(frozen=True)
class ProductOfExperts(Claim[SelectionTable]):
    r"""Facts about any number of experts over any number of classes, tried on random logits and on the world's own experts.

    .. math:: \mathrm{norm}\sum_e \ln p_e = \ln \mathrm{softmax}\sum_e \ell_e, \qquad \partial \mathrm{CE}/\partial \ell_e = p - e_y

    ``rule`` says how the experts' probabilities are combined; the mixture (their mean) is what an ensemble of averaged probabilities does,
    and it has neither property.
    """

    rule: Rule = "product"

    def analytic(self, world: SelectionTable) -> Sides:
        zero = Interval.exact(0.0)
        return {"value": zero, "gradients differ": zero, "gradient is p − e_y": zero, "the world's posterior": zero}

    def empirical(self, world: SelectionTable, trial: Trial) -> Sides:
        worst: dict[str, float] = dict.fromkeys(("value", "gradients differ", "gradient is p − e_y"), 0.0)
        for experts, classes in ((2, 2), (3, 2), (3, 7), (8, 5)):
            draws = trial.stream.child(experts, classes).draws(device=trial.device)
            logits = (3 * draws.normal("logits", trial.n, experts, classes)).requires_grad_()
            label = draws.integers("label", classes, trial.n)
            combined = self._combine(logits)
            loss = -combined.gather(-1, label[:, None]).sum()
            (gradient,) = torch.autograd.grad(loss, logits)
            target = product_of_experts(logits.detach())
            slope = target.exp() - torch.nn.functional.one_hot(label, classes)
            found = {
                "value": combined.detach() - target,
                "gradients differ": gradient - gradient.mean(1, keepdim=True),
                "gradient is p − e_y": gradient - slope[:, None],
            }
            worst = {k: max(worst[k], float(found[k].abs().max())) for k in worst}
        shape, parts = world.table.shape, world.experts.values()
        stacked = torch.stack([part.expand(shape) for part in parts], -2)
        law = (world.table / world.table.sum(-1, keepdim=True)).log()
        worst["the world's posterior"] = float((self._combine(stacked) - law).abs().max())
        return {case: Interval.exact(value) for case, value in worst.items()}

    def _combine(self, logits: Tensor) -> Tensor:
        """Log-probabilities from the experts' own, each normalised first, as the authors' code does it."""
        each = logits.log_softmax(-1)
        mean = each.exp().mean(-2).log()
        return mean if self.rule == "mixture" else each.sum(-2) - each.sum(-2).logsumexp(-1, keepdim=True)

    def controls(self) -> tuple[Control, ...]:
        mixture = replace(
            self, id=f"{self.id}!mixture", statement=f"control (mixture): {self.statement}", rule="mixture"
        )
        return (Control("the mean of the experts' probabilities", mixture, self.world),)


PRODUCT_OF_EXPERTS: Claim[Any] = ProductOfExperts(
    id="C2.1",
    source=Source("madaan2024", "the training objective of I2M2", "derived here"),
    statement="Normalising a sum of log-softmaxes is the softmax of the sum of logits; every expert's logit gradient is p − e_y.",
    world=SelectionTable(),
    budgets={"small": Budget(200, 200), "full": Budget(2000, 2000)},
    margin=1e-8,
    unit="random logit tables",
)
