"""C11.3: with modalities missing at random the least risk is a mixture, and a table trained with modality dropout attains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import Gated

_ABSENT = 4  # the symbol after the world's own four


@final
@dataclass(frozen=True)
class MissingMixture(Claim[Gated]):
    r"""The risk of one table, filled from complete samples with modalities dropped at random, on samples with modalities missing.

    .. math:: r^* = \sum_A \pi(A)\, r^*(A)

    The table has one more symbol a modality, "absent". It is filled with ``size`` complete samples, each seen under every pattern in
    turn, and tried on fresh samples of the world. Its excess over r* is O(cells/size), inside the margin. One case is the world with
    its patterns, another the same world with everything present, where r* is that of all modalities.
    """

    size: int = 40_000
    dropout: bool = True
    mixture: bool = True

    def analytic(self, world: Gated) -> Sides:
        complete = replace(world, patterns=(), chances=())
        missing = (world if self.mixture else complete).known("bayes_risk", world.modalities)
        return {"missing": missing, "complete": complete.known("bayes_risk", world.modalities)}

    def broken_assumptions(self, world: Gated) -> tuple[str, ...]:
        return () if world.patterns else ("a pattern of missing modalities, found none",)

    def empirical(self, world: Gated, trial: Trial) -> Sides:
        complete = replace(world, patterns=(), chances=())
        train = complete.sample(self.size, stream=trial.stream.child("train"), device=trial.device)
        patterns = list(world.availability) if self.dropout else []
        counts = torch.zeros((_ABSENT + 1) ** len(train.x), 2, dtype=torch.float64, device=trial.device)
        for there in {*patterns, frozenset(world.modalities)}:
            shown = {m: torch.tensor(m in there, device=trial.device).expand_as(train.y) for m in train.x}
            cells = _cells(train.x, shown)
            counts.index_put_((cells, train.y), torch.ones_like(cells, dtype=torch.float64), accumulate=True)
        alpha = trial.alpha / 2
        sides: dict[str, Interval] = {}
        for case, place in (("missing", world), ("complete", complete)):
            fresh = place.sample(trial.n, stream=trial.stream.child(case, trial.n), device=trial.device)
            sides[case] = student(_errors(counts, fresh), alpha=alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        undropped = replace(
            self,
            id=f"{self.id}!complete",
            statement=f"control (trained without dropout): {self.statement}",
            dropout=False,
        )
        whole = replace(self, id=f"{self.id}!whole", statement=f"control (r* of all): {self.statement}", mixture=False)
        return (
            Control("a table that never saw anything missing", undropped, self.world),
            Control("the risk of all modalities", whole, self.world),
        )


def _cells(x: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
    """The cell of each sample in the table over five symbols a modality."""
    cell = torch.zeros_like(next(iter(x.values())))
    for m, symbols in x.items():
        shown = symbols if m not in present else torch.where(present[m], symbols, _ABSENT)
        cell = cell * (_ABSENT + 1) + shown
    return cell


def _errors(counts: Tensor, batch: Batch) -> Tensor:
    """0–1 loss of the majority label of each sample's cell, ½ at a tie or in an empty cell."""
    votes = counts[_cells(batch.x, batch.present)]
    lead = (votes[:, 1] - votes[:, 0]) * (2.0 * batch.y - 1)
    return (1 - lead.sign()) / 2


MISSING_MIXTURE: Claim[Any] = MissingMixture(
    id="C11.3",
    source=Source("monotone", "missing completely at random", "derived here"),
    statement="Under random missingness r* is the mixture of the patterns' r*, and modality dropout attains it with one table.",
    world=Gated(
        reliability=(0.7, 0.6, 0.5),
        flip=(0.05, 0.1, 0.1),
        patterns=("abc", "ab", "c", ""),
        chances=(0.4, 0.3, 0.2, 0.1),
    ),
    budgets={"small": Budget(40_000, 320_000), "full": Budget(160_000, 1_280_000)},
    margin=0.01,
)
