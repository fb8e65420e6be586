"""W4: discrete tables, where every functional is a finite sum and any model's risk is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Self, cast, final

import torch
from torch import Tensor

from mmtheory import info
from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from ._gates import GATES, MOST_CELLS, channels, composite, noisy, subsystems

_ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class Table(World):
    r"""Any law of finitely many symbols: logic gates, symmetric channels, composite bits, or an explicit table.

    Inputs are integer symbols, one a modality. With fair input bits, ``xor`` of all is parity: every proper subset of the modalities knows
    nothing. ``composite`` has exactly the decomposition that its bit counts say.

    :param gate: and, or, xor, unq (y = x₁), rdn (all equal y), sum, bsc, composite, or joint.
    :param count: modalities of a logic gate, 2 to 8.
    :param flip: bsc: flip probability of each channel; 0 copies the label.
    :param bits: composite: redundant, unique to each modality, synergistic.
    :param label_noise: probability that the label is replaced by another one, all alike; 0 for none.
    :param joint: with gate ``joint``, the table itself, nested as [x₁][x₂]…[y].
    :raises ArgumentError: a dial out of its domain, more than 2·10⁷ cells.

    Source: derived here; the gates are the field's (Bertschinger et al. 2014, known).

    >>> round(Table("and").known("redundancy", {"a", "b"}).middle / math.log(2), 4)
    0.3113
    """

    name: ClassVar[str] = "table"
    task: ClassVar[Task] = "classification"

    gate: str = "xor"
    count: int = 2
    flip: tuple[float, ...] = (0.1, 0.2)
    bits: tuple[int, ...] = (1, 1, 1, 1)
    label_noise: float = 0.0
    joint: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        known = (*GATES, "bsc", "composite", "joint")
        if self.gate not in known:
            raise ArgumentError(f"{self.name}: expected a gate among {', '.join(known)}, found {self.gate!r}")
        if not 2 <= len(self.modalities) <= 8:
            raise ArgumentError(f"{self.name}: expected 2 to 8 modalities, found {len(self.modalities)}")
        if not all(0 <= e <= 1 for e in self.flip) or not all(b >= 0 for b in self.bits):
            raise ArgumentError(f"{self.name}: expected flips in [0, 1] and bits >= 0, found {self.flip}, {self.bits}")
        if self.table.numel() > MOST_CELLS:
            raise ArgumentError(f"{self.name}: expected at most {MOST_CELLS} cells, found {self.table.numel()}")

    @property
    def modalities(self) -> tuple[str, ...]:
        if self.gate == "joint":
            depth, node = 0, cast("Any", self.joint)
            while isinstance(node, tuple) and node:
                depth, node = depth + 1, cast("Any", node[0])
            return tuple("abcdefgh"[: max(depth - 1, 0)]) if depth <= 9 else ()
        counts = {"bsc": len(self.flip), "composite": len(self.bits) - 2}
        size = counts.get(self.gate, self.count)
        return tuple("abcdefgh"[:size]) if 0 <= size <= 8 else ()

    @cached_property
    def table(self) -> Tensor:
        """The joint law, [x_1, …, x_M, y]."""
        if self.gate == "joint":
            try:
                raw = torch.tensor(self.joint, dtype=torch.float64)
            except (TypeError, ValueError) as error:
                raise ArgumentError(
                    f"{self.name}: expected joint to be a nested table of numbers, found {error}"
                ) from error
            clean = info.checked_table(raw, axes=raw.dim(), owner=self.name)
        elif self.gate == "bsc":
            clean = channels(self.flip)
        else:
            clean = composite(self.bits) if self.gate == "composite" else GATES[self.gate](self.count)
        return noisy(clean, self.label_noise)

    @property
    def classes(self) -> int:
        """Labels."""
        return self.table.shape[-1]

    @classmethod
    def from_targets(cls, redundancy: float, unique_first: float, unique_second: float, synergy: float) -> Self:
        """The two-modality table with exactly this decomposition: one noisy bit for each atom.

        Unit: nat.

        :raises InfeasibleError: an atom outside [0, ln 2].
        """
        atoms = redundancy, unique_first, unique_second, synergy
        if not all(0 <= atom <= math.log(2) for atom in atoms):
            raise InfeasibleError(f"{cls.name}: expected every atom in [0, ln 2] = [0, 0.693147], found {atoms}")
        parts = tuple((kind, _flip(atom)) for kind, atom in enumerate(atoms) if atom > 0)
        nested = _nested(subsystems(parts, 2).tolist())
        return cls("joint", joint=nested)

    def draw(self, n: int, draws: Draws) -> Batch:
        edges = self.table.flatten().cumsum(0).to(draws.device)
        cell = torch.searchsorted(edges / edges[-1], draws.uniform("cell", n), right=True)
        symbols = torch.unravel_index(cell, self.table.shape)
        return Batch(dict(zip(self.modalities, symbols[:-1], strict=True)), symbols[-1])

    def marginal(self, given: Iterable[str]) -> Tensor:
        """The law of (x_S, y) with x_S as one symbol, [cells of S, y]."""
        keep = set(given)
        drop = [i for i, m in enumerate(self.modalities) if m not in keep]
        return (self.table.sum(drop) if drop else self.table).reshape(-1, self.classes)

    def posterior(self, x: Mapping[str, Tensor]) -> Tensor:
        """p(y | x_S) for the modalities that x holds, [*shape of the symbols, y]; a symbol of probability 0 has none, all zeros."""
        names = [m for m in self.modalities if m in x]
        drop = [i for i, m in enumerate(self.modalities) if m not in x]
        table = info.posterior(self.table.sum(drop) if drop else self.table)
        return table[tuple(x[m] for m in names)]

    def risk(self, model: Callable[[Mapping[str, Tensor]], Tensor]) -> Interval:
        """Exact 0–1 risk of any predictor, from its answer on every input cell.

        :param model: maps every modality's symbols [n] to labels [n] or to scores [n, classes], the largest of which it predicts.
        """
        shape = self.table.shape[:-1]
        cells = torch.unravel_index(torch.arange(math.prod(shape)), shape)
        answer = model(dict(zip(self.modalities, cells, strict=True)))
        label = answer.argmax(-1) if answer.dim() == 2 else answer.long()
        flat = self.table.reshape(-1, self.classes)
        wrong = flat.sum(-1) - flat.gather(-1, label[:, None])[:, 0]
        return Interval.exact(float(wrong.sum()), _ROUNDING)

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

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        known: dict[tuple[str, str], Callable[[frozenset[str]], Interval]] = {
            ("information", "divergence"): self._of(info.information),
            ("information", "entropies"): self._of(
                lambda p: info.entropy(p.sum(0)) + info.entropy(p.sum(1)) - info.entropy(p.flatten())
            ),
            ("bayes_risk", "lost mass"): self._of(info.bayes_error),
            ("bayes_risk", "best mass"): self._of(lambda p: 1 - p.amax(1).sum()),
            ("label_entropy", "table"): self._of(lambda p: info.entropy(p.sum(0))),
            ("posterior_entropy", "rows"): self._of(info.conditional_entropy),
            ("posterior_entropy", "chain rule"): self._of(lambda p: info.entropy(p.flatten()) - info.entropy(p.sum(1))),
        }
        if len(self.modalities) == 2:
            for atom in ("redundancy", "unique", "synergy"):
                known[atom, "certified"] = partial(self._atom, atom=atom, closed=False)
                if self.gate != "joint" and (self.gate != "composite" or self.label_noise == 0):
                    known[atom, "closed form"] = partial(self._atom, atom=atom, closed=True)
        return known

    def _of(self, functional: Callable[[Tensor], Tensor]) -> Callable[[frozenset[str]], Interval]:
        """A functional of the law of (x_S, y), as an exact answer."""
        return lambda given: Interval.exact(float(functional(self.marginal(given))), _ROUNDING).clipped(0, math.inf)

    @cached_property
    def _certified(self) -> info.Decomposition:
        return self.decomposition(*self.modalities)

    @cached_property
    def _closed(self) -> info.Decomposition:
        """Bit counts of a composite; elsewhere Blackwell's rule, since the two channels are equal or one of them is a garbling."""
        if self.gate == "composite":
            nats = torch.tensor(self.bits, dtype=torch.float64) * math.log(2)
            redundant, first, second, synergistic = nats.unbind()
            return info.Decomposition(redundant, first, second, synergistic, torch.zeros_like(redundant))
        parts = [info.information(self.marginal(g)) for g in (*self.modalities, self.modalities)]
        return info.mmi_decomposition(*parts)

    def _atom(self, given: frozenset[str], *, atom: str, closed: bool) -> Interval:
        """One atom: unique information of the given modality, the others of both."""
        needed = 1 if atom == "unique" else 2
        if len(given) != needed:
            raise NotExactError(f"{self.name}: expected {atom} of {needed} modalities, found {len(given)}")
        found = self._closed if closed else self._certified
        field = "unique_first" if self.modalities[0] in given else "unique_second"
        value = getattr(found, field if atom == "unique" else atom)
        return Interval.exact(float(value), float(found.gap) + _ROUNDING)


def _flip(information: float) -> float:
    """The flip probability at which a fair bit's symmetric channel carries this information."""
    return float(info.fano_error(math.log(2) - information, 2))


def _nested(value: Any) -> Any:  # noqa: ANN401 (a nested list of any depth)
    """Lists as tuples."""
    return tuple(_nested(v) for v in cast("list[Any]", value)) if isinstance(value, list) else value
