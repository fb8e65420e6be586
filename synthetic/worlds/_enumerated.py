"""What every world that is a table of symbols answers, by enumeration of its cells."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from mmtheory import info
from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

Answer = Callable[[frozenset[str]], Interval]
ROUNDING = 1e-12
MOST_CELLS = 20_000_000


class Enumerated(World):
    """A world given by the table p(x_1, …, x_M, y); inputs are integer symbols [*batch_shape, n]."""

    task: ClassVar[Task] = "classification"

    @cached_property
    @abstractmethod
    def table(self) -> Tensor:
        """The joint law, [x_1, …, x_M, y]."""

    @property
    def classes(self) -> int:
        """Labels."""
        return self.table.shape[-1]

    def draw(self, n: int, draws: Draws) -> Batch:
        shape, steps = self.table.shape, self.table.flatten().cumsum(0).to(draws.device)
        cell = torch.searchsorted(steps, draws.uniform("cell", n) * steps[-1], right=True)
        symbols = torch.unravel_index(cell.clamp(max=steps.numel() - 1), shape)
        return Batch(dict(zip(self.modalities, symbols[:-1], strict=True)), symbols[-1])

    def marginal(self, given: Iterable[str]) -> Tensor:
        """The law of (x_S, y) with x_S as one symbol, [cells of S, y]."""
        return self._kept(given).reshape(-1, self.classes)

    def _kept(self, given: Iterable[str]) -> Tensor:
        """The law of (x_S, y), an axis a modality."""
        keep = set(given)
        away = [i for i, m in enumerate(self.modalities) if m not in keep]
        return self.table.sum(away) if away else self.table

    def posterior(self, x: Mapping[str, Tensor]) -> Tensor:
        """p(y | x_S) for the modalities that x holds, [*shape of the symbols, y]; a symbol of probability 0 has none, all zeros."""
        return info.posterior(self._kept(x))[tuple(x[m] for m in self.modalities if m in x)]

    def decomposition(self, first: Iterable[str], second: Iterable[str]) -> info.Decomposition:
        """The certified decomposition of two disjoint groups of modalities about the label.

        :raises ArgumentError: groups that overlap or are empty.
        """
        groups = [[m for m in self.modalities if m in set(g)] for g in (first, second)]
        if not all(groups) or set(groups[0]) & set(groups[1]):
            raise ArgumentError(f"{self.name}: expected two disjoint groups of modalities, found {groups}")
        axes = [self.modalities.index(m) for m in (*groups[0], *groups[1])]
        drop = [i for i in range(len(self.modalities)) if i not in axes]
        table = self.table.permute(*axes, *drop, -1)
        table = table.sum(list(range(len(axes), len(self.modalities)))) if drop else table
        return info.pid(table.flatten(0, len(groups[0]) - 1).flatten(1, -2))

    def exact(self) -> Mapping[tuple[str, str], Answer]:
        of = self._of
        known: dict[tuple[str, str], Answer] = {
            ("information", "divergence"): of(info.information),
            ("information", "entropies"): of(
                lambda p: info.entropy(p.sum(0)) + info.entropy(p.sum(1)) - info.entropy(p.flatten())
            ),
            ("bayes_risk", "lost mass"): of(info.bayes_error),
            ("bayes_risk", "best mass"): of(lambda p: 1 - p.amax(1).sum()),
            ("label_entropy", "table"): of(lambda p: info.entropy(p.sum(0))),
            ("posterior_entropy", "rows"): of(info.conditional_entropy),
            ("posterior_entropy", "chain rule"): of(lambda p: info.entropy(p.flatten()) - info.entropy(p.sum(1))),
        }
        if len(self.modalities) == 2:
            known |= {
                (q, "certified"): partial(self._certified_atom, atom=q) for q in ("redundancy", "unique", "synergy")
            }
        return known

    def _of(self, functional: Callable[[Tensor], Tensor]) -> Answer:
        """A functional of the law of (x_S, y), as an exact answer."""
        return lambda given: self.functional(given, of=functional)

    def functional(self, given: frozenset[str], *, of: Callable[[Tensor], Tensor]) -> Interval:
        """A functional of the law of (x_S, y), as an exact answer."""
        return Interval.exact(float(of(self.marginal(given))), ROUNDING).clipped(0, math.inf)

    @cached_property
    def _certified(self) -> info.Decomposition:
        return self.decomposition(*self.modalities)

    def _certified_atom(self, given: frozenset[str], *, atom: str) -> Interval:
        return self.atom(self._certified, given, atom)

    def atom(self, parts: info.Decomposition, given: frozenset[str], atom: str) -> Interval:
        """One atom of a decomposition: unique information of the given modality, the others of both.

        :raises NotExactError: not one modality for ``unique``, or not both for the others.
        """
        needed = 1 if atom == "unique" else 2
        if len(given) != needed:
            raise NotExactError(f"{self.name}: expected {atom} of {needed} modalities, found {len(given)}")
        unique = parts.unique_first if self.modalities[0] in given else parts.unique_second
        value = {"redundancy": parts.redundancy, "unique": unique, "synergy": parts.synergy}[atom]
        return Interval.exact(float(value), float(parts.gap) + ROUNDING)
