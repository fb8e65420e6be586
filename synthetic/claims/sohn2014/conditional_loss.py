"""R1.1 and R1.2: the minVI loss beside the likelihood, and what it comes to at its minimum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import conditional_losses, variation_of_information
from mmtheory.models.rbm import MultimodalRBM, states
from mmtheory.stats import Interval
from synthetic.worlds import SelectionTable, Table

HIDDEN = 5


def pair_law(world: SelectionTable | Table) -> Tensor:
    """The law of the two modalities, the label summed out."""
    return world.table.sum(-1)


@final
@dataclass(frozen=True)
class TwiceTheLikelihood(Claim[SelectionTable]):
    r"""For every model, :math:`2\,\mathrm{NLL} = L_{VI} + \mathrm{CE}(p_D(x), p_\theta(x)) + \mathrm{CE}(p_D(y), p_\theta(y))`.

    Tried on random Boltzmann machines with binary codes of the symbols: likelihood and marginals by enumeration of the partition
    function, conditionals as softmaxes of free energies, which know nothing of it. Left: the largest discrepancy.

    :param marginals: whose cross-entropies are added; leaving one out is wrong.
    """

    marginals: tuple[int, ...] = (0, 1)

    def analytic(self, world: SelectionTable) -> Sides:
        return {"largest discrepancy": Interval.exact(0.0)}

    def empirical(self, world: SelectionTable, trial: Trial) -> Sides:
        law, bits = pair_law(world), (world.symbols - 1).bit_length()
        draws = trial.stream.draws(range(trial.n), device=trial.device)
        machine = MultimodalRBM(
            {m: draws.normal(name, bits, HIDDEN) for m, name in (("x", "w"), ("y", "v"))},
            {m: draws.normal(name, bits) for m, name in (("x", "a"), ("y", "c"))},
            draws.normal("b", HIDDEN),
        )
        code, size = states(bits), 2**bits
        x, y = code.repeat_interleave(size, 0), code.repeat(size, 1)
        energy = machine.free_energy({"x": x, "y": y}).reshape(-1, size, size)
        halves = -(law * (energy.neg().log_softmax(-1) + energy.neg().log_softmax(-2))).sum((-2, -1))
        log_law = machine.log_law()
        whole = -2 * (law * log_law).sum((-2, -1))
        for axis in self.marginals:
            halves = halves - (law.sum(1 - axis) * log_law.logsumexp(2 - axis)).sum(-1)
        return {"largest discrepancy": Interval.exact(float((whole - halves).abs().max()))}

    def controls(self) -> tuple[Control, ...]:
        one = replace(self, id=f"{self.id}!one", marginals=(0,))
        return (Control("one marginal left out", one, self.world),)


@final
@dataclass(frozen=True)
class LeastLoss(Claim[SelectionTable | Table]):
    r"""The least minVI loss over all joint laws is the data's variation of information, and only the data's law attains it.

    Left: Newton's method on the logits of an unrestricted table, in which the loss is convex, from random starts; cases are the least
    value found and the largest total variation between a minimiser and the law.
    """

    def analytic(self, world: SelectionTable | Table) -> Sides:
        least = float(variation_of_information(pair_law(world)))
        return {"least loss": Interval.exact(least, 1e-12), "distance of the minimiser": Interval.exact(0.0)}

    def empirical(self, world: SelectionTable | Table, trial: Trial) -> Sides:
        law = pair_law(world)
        logits = trial.stream.draws(range(trial.n)).normal("start", *law.shape)
        logits = torch.where(law > 0, logits, -torch.inf)
        for _ in range(40):
            logits = logits - _newton_step(law, logits)
        loss = sum(conditional_losses(law, logits.exp()))
        found = logits.flatten(-2).softmax(-1).reshape(logits.shape)
        distance = (found - law).abs().sum((-2, -1)).max() / 2
        return {
            "least loss": Interval.exact(float(torch.as_tensor(loss).max())),
            "distance of the minimiser": Interval.exact(float(distance)),
        }

    def controls(self) -> tuple[Control, ...]:
        blocks = Table("composite", bits=(1, 1, 1, 0))
        return (
            Control("a support of two blocks", replace(self, id=f"{self.id}!blocks", world=blocks), blocks),
            misstated(self, "half of the variation of information", lambda side: side * 0.5),
        )


def _newton_step(law: Tensor, logits: Tensor) -> Tensor:
    """A damped Newton step of L_VI in the logits, zero where the law has no mass."""
    shape = logits.shape[-2:]
    row, column = logits.softmax(-1), logits.softmax(-2)
    px, py = law.sum(-1), law.sum(-2)
    gradient = px[:, None] * row + py * column - 2 * law
    eye = torch.eye(shape[0]).to(law), torch.eye(shape[1]).to(law)
    # Each row's (column's) log-partition has the curvature of a softmax; rows and columns do not mix among themselves.
    own = torch.einsum("x,...xy,xu,yv->...xyuv", px, row, eye[0], eye[1])
    own = own - torch.einsum("x,...xy,...xv,xu->...xyuv", px, row, row, eye[0])
    across = torch.einsum("y,...xy,xu,yv->...xyuv", py, column, eye[0], eye[1])
    across = across - torch.einsum("y,...xy,...uy,yv->...xyuv", py, column, column, eye[1])
    hessian = (own + across).reshape(*logits.shape[:-2], law.numel(), law.numel())
    step = torch.linalg.pinv(hessian, rtol=1e-10, hermitian=True) @ gradient.flatten(-2)[..., None]
    return step[..., 0].clamp(-1, 1).reshape(logits.shape)


IDENTITY: Claim[Any] = TwiceTheLikelihood(
    id="R1.1",
    source=Source("sohn2014", "the loss and the likelihood, as one identity", "derived here"),
    statement="Twice the negative log-likelihood is the minVI loss and the marginals' cross-entropies, for every model.",
    world=SelectionTable(symbols=4),
    budgets={"small": Budget(200, 200), "full": Budget(2000, 2000)},
    margin=1e-10,
    unit="machines",
)

LEAST_LOSS: Claim[Any] = LeastLoss(
    id="R1.2",
    source=Source("sohn2014", "Theorem 1 for an unrestricted model: equal conditionals, equal joint law", "recalled"),
    statement="The least minVI loss is the variation of information, attained by the law of the data alone if its support is connected.",
    world=SelectionTable(symbols=3),
    budgets={"small": Budget(8, 8), "full": Budget(64, 64)},
    margin=1e-7,
    unit="random starts",
)
