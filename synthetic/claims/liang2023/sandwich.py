"""C7.5: the synergy of random tables lies between the bounds that pairwise marginals give."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import pid, synergy_bounds
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Table

from ._tables import random_tables

_SPIKES = (1.0, 2.5, 5.0)


@final
@dataclass(frozen=True)
class Sandwich(Claim[Table]):
    r"""Agreement and disagreement bound the synergy from below, couplings from above.

    .. math:: \max\Big(R - I(X_1;X_2) + \min_r I_r(X_1;X_2|Y),\; \tfrac14 E\|p_1-p_2\|^2 - \tfrac{U_1+U_2}2\Big) \le S \le
              \max_r I_r(X_1X_2;Y) - R - U_1 - U_2

    The left sides are the worst excess of a bound over random tables of the world's shape, flat and spiky; the right side is 0.

    :param constant: factor of E‖p₁ − p₂‖², ¼ in the theorem; 1 is what released code uses.
    :param room: share of the upper bounds' room that is kept (1 is the theorem).
    :param raised: added to the agreement bound, as a share of I(X₁;X₂) that is forgotten (0 is the theorem).
    """

    constant: float = 0.25
    room: float = 1.0
    raised: float = 0.0

    def broken_assumptions(self, world: Table) -> tuple[str, ...]:
        return () if len(world.modalities) == 2 else ("needs two modalities",)

    def analytic(self, world: Table) -> Sides:
        return {case: Interval.exact(0.0) for case in ("agreement", "disagreement", "coupling", "trivial")}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        shape = tuple(world.table.shape)
        kinds = [random_tables(trial.stream.child(str(spike)), trial.n, shape, spike=spike) for spike in _SPIKES]
        tables = torch.cat(kinds)
        bounds, found = synergy_bounds(tables), pid(tables)
        alpha = 4 * (bounds.disagreement + (bounds.known.unique_first + bounds.known.unique_second) / 2)
        pair = tables.sum(-1)
        apart = pair.sum(-1, keepdim=True) * pair.sum(-2, keepdim=True)
        shared = torch.special.xlogy(pair, pair / apart).sum((-2, -1))
        excess = {
            "agreement": bounds.agreement + self.raised * shared - found.synergy,
            "disagreement": bounds.disagreement + (self.constant - 0.25) * alpha - found.synergy,
            "coupling": found.synergy - self.room * bounds.coupling_upper,
            "trivial": found.synergy - self.room * bounds.trivial_upper,
        }
        # The certificate: true synergy is within the gap below what the solver reports.
        return {case: Interval.exact(float((v - found.gap).max()), 1e-9) for case, v in excess.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("constant 1 in place of a quarter", replace(self, constant=1.0), self.world),
            Control("slack of the upper bounds a hundredth", replace(self, room=0.01), self.world),
            Control("information between the sources forgotten", replace(self, raised=1.0), self.world),
        )


SANDWICH: Claim[Any] = Sandwich(
    id="C7.5",
    source=Source("liang2023", "synergy bounds (2024), agreement in tight form and our constant", "derived here"),
    statement="Pairwise marginals bound the synergy of random tables from both sides.",
    world=Table("xor"),
    budgets={"small": Budget(80, 80), "full": Budget(1000, 1000)},
    relation=Relation.AT_MOST,
    margin=1e-7,
    unit="tables",
)
