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
from mmtheory.world import Task

from ._missing import PID, Incomplete
from ._missing import Answer as Answer

ROUNDING = 1e-12
MOST_CELLS = 20_000_000


class Enumerated(Incomplete):
    """A world given by the table p(x_1, …, x_M, y); inputs are integer symbols [*batch_shape, n]."""

    task: ClassVar[Task] = "classification"

    @cached_property
    @abstractmethod
    def table(self) -> Tensor:
        """The joint law of complete samples, [x_1, …, x_M, y]."""

    @property
    def classes(self) -> int:
        """Labels."""
        return self.table.shape[-1]

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        shape, steps = self.table.shape, self.table.flatten().cumsum(0).to(draws.device)
        cell = torch.searchsorted(steps, draws.uniform("cell", n) * steps[-1], right=True)
        symbols = torch.unravel_index(cell.clamp(max=steps.numel() - 1), shape)
        return Batch(dict(zip(self.modalities, symbols[:-1], strict=True)), symbols[-1])

    @cached_property
    def shown(self) -> Mapping[str, int]:
        """Symbols of each modality; one that may be absent has one more, its last, for that."""
        always = frozenset.intersection(*self.availability)
        return {m: a + (m not in always) for m, a in zip(self.modalities, self.table.shape, strict=False)}

    @cached_property
    def seen(self) -> Tensor:
        """The law of what is seen, [x_1, …, x_M, y], absence included; the table itself if nothing is ever missing."""
        if self.complete:
            return self.table
        seen = torch.zeros(*self.shown.values(), self.classes, dtype=torch.float64)
        for there, chance in self.availability.items():
            away = [i for i, m in enumerate(self.modalities) if m not in there]
            at = [
                slice(a) if m in there else slice(-1, None)
                for m, a in zip(self.modalities, self.table.shape, strict=False)
            ]
            seen[tuple(at)] += chance * (self.table.sum(away, keepdim=True) if away else self.table)
        return seen

    def seen_marginal(self, given: Iterable[str]) -> Tensor:
        """The law of (what S shows, y), absence being a symbol, [cells of S, y]."""
        keep = set(given)
        away = [i for i, m in enumerate(self.modalities) if m not in keep]
        return (self.seen.sum(away) if away else self.seen).reshape(-1, self.classes)

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.posterior(x)

    def prior(self) -> Tensor:
        return self.marginal(()).sum(0)

    def marginal(self, given: Iterable[str]) -> Tensor:
        """The law of (x_S, y) of complete samples, with x_S as one symbol, [cells of S, y]."""
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
        """The certified decomposition of two disjoint groups of modalities about the label, whoever is missing at times.

        :raises ArgumentError: groups that overlap or are empty.
        """
        groups = [[m for m in self.modalities if m in set(g)] for g in (first, second)]
        if not all(groups) or set(groups[0]) & set(groups[1]):
            raise ArgumentError(f"{self.name}: expected two disjoint groups of modalities, found {groups}")
        axes = [self.modalities.index(m) for m in (*groups[0], *groups[1])]
        drop = [i for i in range(len(self.modalities)) if i not in axes]
        table = self.seen.permute(*axes, *drop, -1)
        table = table.sum(list(range(len(axes), len(self.modalities)))) if drop else table
        return info.pid(table.flatten(0, len(groups[0]) - 1).flatten(1, -2))

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
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
            known |= {(q, "certified"): partial(self._certified_atom, atom=q) for q in PID}
        return known

    def exact_erased(self, known: Mapping[tuple[str, str], Answer]) -> Mapping[tuple[str, str], Answer]:
        """By enumeration of what is seen: a second route to the mixtures, and the only one to the decomposition."""
        if self.classes * math.prod(self.shown.values()) > MOST_CELLS:
            return {}
        functionals: dict[str, Callable[[Tensor], Tensor]] = {
            "information": info.information,
            "bayes_risk": info.bayes_error,
            "posterior_entropy": info.conditional_entropy,
        }
        erased = {(q, "erased table"): partial(self._erased, of=f) for q, f in functionals.items()}
        return erased | {key: answer for key, answer in known.items() if key in {(q, "certified") for q in PID}}

    def _erased(self, given: frozenset[str], *, of: Callable[[Tensor], Tensor]) -> Interval:
        return Interval.exact(float(of(self.seen_marginal(given))), ROUNDING).clipped(0, math.inf)

    def _of(self, functional: Callable[[Tensor], Tensor]) -> Answer:
        """A functional of the law of (x_S, y), as an exact answer."""
        return lambda given: Interval.exact(float(functional(self.marginal(given))), ROUNDING).clipped(0, math.inf)

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
