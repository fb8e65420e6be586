"""W4: discrete tables, where every functional is a finite sum and any model's risk is exact."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar, Self, cast, final

import torch
from torch import Tensor

from mmtheory import info
from mmtheory.errors import ArgumentError, InfeasibleError
from mmtheory.stats import Interval

from ._enumerated import MOST_CELLS, ROUNDING, Answer, Enumerated
from ._gates import GATES, channels, composite, noisy, subsystems
from ._missing import Rates


@final
@dataclass(frozen=True)
class Table(Enumerated):
    r"""Any law of finitely many symbols: logic gates, symmetric channels, composite bits, or an explicit table.

    Inputs are integer symbols, one a modality. With fair input bits, ``xor`` of all is parity: every proper subset of the modalities knows
    nothing. ``composite`` has exactly the decomposition that its bit counts say.

    :param gate: and, or, xor, unq (y = x₁), rdn (all equal y), sum, bsc, composite, or joint.
    :param count: modalities of a logic gate, 2 to 8.
    :param flip: bsc: flip probability of each channel; 0 copies the label.
    :param bits: composite: redundant, unique to each modality, synergistic.
    :param label_noise: probability that the label is replaced by another one, all alike; 0 for none.
    :param joint: with gate ``joint``, the table itself, nested as [x₁][x₂]…[y].
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain, more than 2·10⁷ cells.

    Source: derived here; the gates are the field's (Bertschinger et al. 2014, known).

    >>> round(Table("and").known("redundancy", {"a", "b"}).middle / math.log(2), 4)
    0.3113
    """

    name: ClassVar[str] = "table"

    gate: str = "xor"
    count: int = 2
    flip: tuple[float, ...] = (0.1, 0.2)
    bits: tuple[int, ...] = (1, 1, 1, 1)
    label_noise: float = 0.0
    joint: tuple[Any, ...] = ()
    missingness: Rates = 0.0

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
        _ = self.rates

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

    def risk(self, model: Callable[[Mapping[str, Tensor]], Tensor]) -> Interval:
        """Exact 0–1 risk of any predictor, from its answer on every input cell; an absent modality shows it the symbol 0, as samples do.

        :param model: maps every modality's symbols [n] to labels [n] or to scores [n, classes], the largest of which it predicts.
        """
        shape = self.seen.shape[:-1]
        cells = torch.unravel_index(torch.arange(math.prod(shape)), shape)
        whole = self.table.shape[:-1]
        shown = [torch.where(cell < size, cell, 0) for cell, size in zip(cells, whole, strict=True)]
        answer = model(dict(zip(self.modalities, shown, strict=True)))
        label = answer.argmax(-1) if answer.dim() == 2 else answer.long()
        flat = self.seen.reshape(-1, self.classes)
        wrong = flat.sum(-1) - flat.gather(-1, label[:, None])[:, 0]
        return Interval.exact(float(wrong.sum()), ROUNDING)

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        known = dict(super().exact_complete())
        if len(self.modalities) == 2 and self.gate != "joint" and (self.gate != "composite" or self.label_noise == 0):
            for atom in ("redundancy", "unique", "synergy"):
                known[atom, "closed form"] = partial(self._closed_atom, atom=atom)
        return known

    @cached_property
    def _closed(self) -> info.Decomposition:
        """Bit counts of a composite; elsewhere Blackwell's rule, since the two channels are equal or one of them is a garbling."""
        if self.gate == "composite":
            nats = torch.tensor(self.bits, dtype=torch.float64) * math.log(2)
            redundant, first, second, synergistic = nats.unbind()
            return info.Decomposition(redundant, first, second, synergistic, torch.zeros_like(redundant))
        parts = [info.information(self.marginal(g)) for g in (*self.modalities, self.modalities)]
        return info.mmi_decomposition(*parts)

    def _closed_atom(self, given: frozenset[str], *, atom: str) -> Interval:
        return self.atom(self._closed, given, atom)


def _flip(information: float) -> float:
    """The flip probability at which a fair bit's symmetric channel carries this information."""
    return float(info.fano_error(math.log(2) - information, 2))


def _nested(value: Any) -> Any:  # noqa: ANN401 (a nested list of any depth)
    """Lists as tuples."""
    return tuple(_nested(v) for v in cast("list[Any]", value)) if isinstance(value, list) else value
