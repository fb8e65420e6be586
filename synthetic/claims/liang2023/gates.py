"""C7.1: the decompositions of the logic gates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import Decomposition, information, pid
from mmtheory.stats import Interval
from synthetic.worlds import Table


@final
@dataclass(frozen=True)
class Gates(Claim[Table]):
    r"""A certified solver finds the closed-form decomposition of every gate.

    .. math:: S = I_p(X_1X_2;Y) - \min_{q} I_q(X_1X_2;Y)

    One case an atom of a gate. The closed forms are Blackwell's rule and bit counts, the solver knows neither.

    :param product: take the coupling under which the sources are independent given y instead of the best one (a control).
    :param exchanged: name the two unique parts the wrong way round, as released code does (a control).
    """

    gates: tuple[str, ...] = ("and", "or", "xor", "unq", "rdn", "sum", "bsc", "composite")
    product: bool = False
    exchanged: bool = False

    def broken_assumptions(self, world: Table) -> tuple[str, ...]:
        two = {"bsc": len(world.flip), "composite": len(world.bits) - 2}
        bad = [gate for gate in self.gates if two.get(gate, world.count) != 2]
        noisy = () if world.label_noise == 0 else ("bit counts are the decomposition only without label noise",)
        return (*(f"two modalities are needed, found another number for {gate}" for gate in bad), *noisy)

    def analytic(self, world: Table) -> Sides:
        sides: dict[str, Interval] = {}
        for gate in self.gates:
            here = replace(world, gate=gate)
            sides[f"{gate} R"] = here.known("redundancy", here.modalities, route="closed form")
            sides[f"{gate} U1"] = here.known("unique", here.modalities[:1], route="closed form")
            sides[f"{gate} U2"] = here.known("unique", here.modalities[1:], route="closed form")
            sides[f"{gate} S"] = here.known("synergy", here.modalities, route="closed form")
        return sides

    def empirical(self, world: Table, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for gate in self.gates:
            table = replace(world, gate=gate).table
            found = _product(table) if self.product else pid(table, route="cone")
            for atom, value in zip(
                ("R", "U2", "U1", "S") if self.exchanged else ("R", "U1", "U2", "S"),
                found.atoms().tolist(),
                strict=True,
            ):
                sides[f"{gate} {atom}"] = Interval.exact(value, float(found.gap))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("product coupling instead of the best", replace(self, product=True), self.world),
            Control("unique parts exchanged", replace(self, exchanged=True), self.world),
        )


def _product(table: Tensor) -> Decomposition:
    """What one would report who took q(x1, x2 | y) = p(x1 | y) p(x2 | y) for the minimiser."""
    label = table.sum((0, 1))
    q = table.sum(1)[:, None] * table.sum(0)[None] / label
    first, second, both, least = (
        information(t) for t in (table.sum(1), table.sum(0), table.flatten(0, 1), q.flatten(0, 1))
    )
    return Decomposition(first + second - least, least - second, least - first, both - least, both * 0)


GATES: Claim[Any] = Gates(
    id="C7.1",
    source=Source("liang2023", "the bit tables, with our closed forms", "derived here"),
    statement="The certified solver reproduces the decomposition of every logic gate.",
    world=Table("and", flip=(0.1, 0.2)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-6,
    unit="solves",
)
