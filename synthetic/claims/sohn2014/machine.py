"""R1.7: a well-specified Boltzmann machine trained on its two conditionals alone finds the joint law."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import conditional_losses
from mmtheory.models.rbm import MultimodalRBM
from mmtheory.stats import Interval
from synthetic.worlds import Table

from .conditional_loss import pair_law

BITS, HIDDEN, STEPS = 2, 4, 500


def taught() -> Table:
    """The law of a fixed machine with two bits a modality and two hidden units, labelled by the first bit of a."""
    grid = torch.arange(4, dtype=torch.float64).reshape(2, 2)
    teacher = MultimodalRBM(
        {"x": 2 * torch.cos(1 + grid), "y": 2 * torch.sin(2 + grid)},
        {"x": torch.tensor([0.3, -0.4]).double(), "y": torch.tensor([-0.2, 0.5]).double()},
        torch.tensor([0.1, -0.3]).double(),
    )
    return labelled(teacher.log_law().exp())


def labelled(law: Tensor) -> Table:
    """The table of a law of two bits a modality, labelled by the first bit of a."""
    label = torch.eye(2, dtype=torch.float64).repeat_interleave(2, 0)[:, None, :]
    nested = tuple(tuple(tuple(cell) for cell in row) for row in (law[..., None] * label).tolist())
    return Table("joint", joint=nested)


def machine(live: Mapping[str, Tensor]) -> MultimodalRBM:
    """The machine of these parameters."""
    return MultimodalRBM({"x": live["w"], "y": live["v"]}, {"x": live["a"], "y": live["c"]}, live["b"])


@final
@dataclass(frozen=True)
class WellSpecified(Claim[Table]):
    r"""Where the model contains the law, the least minVI loss is reached at the law itself, which maximum likelihood would find too.

    Left: total variation between the law and the machine of the lowest loss among several random starts, after gradient descent on the
    exact minVI loss by enumeration.

    :param halves: which of the two conditional losses are added; one alone says nothing of the marginal it conditions on.
    """

    halves: tuple[int, ...] = (0, 1)

    def analytic(self, world: Table) -> Sides:
        return {"distance from the law": Interval.exact(0.0)}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        law, draws = pair_law(world), trial.stream.draws(range(trial.n))
        shapes = {"w": (BITS, HIDDEN), "v": (BITS, HIDDEN), "a": (BITS,), "c": (BITS,), "b": (HIDDEN,)}
        live = {name: draws.normal(name, *shape).requires_grad_() for name, shape in shapes.items()}
        optimiser = torch.optim.Adam(list(live.values()), lr=0.08)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            optimiser.zero_grad()
            losses = conditional_losses(law, machine(live).log_law().exp())
            torch.stack([losses[k] for k in self.halves]).sum().backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            found = machine(live).log_law().exp()
            losses = conditional_losses(law, found)
            best = int(torch.stack([losses[k] for k in self.halves]).sum(0).argmin())
        return {"distance from the law": Interval.exact(float((found[best] - law).abs().sum()) / 2)}

    def controls(self) -> tuple[Control, ...]:
        forth = replace(self, id=f"{self.id}!forth", halves=(0,))
        return (Control("one conditional alone", forth, self.world),)


WELL_SPECIFIED: Claim[Any] = WellSpecified(
    id="R1.7",
    source=Source("sohn2014", "corollary of Theorem 1 for a well-specified machine", "recalled"),
    statement="A machine that contains the law and is trained on both conditionals alone finds the joint law; on one of them it does not.",
    world=taught(),
    budgets={"small": Budget(6, 6), "full": Budget(60, 60)},
    margin=0.02,
    unit="random starts",
)
