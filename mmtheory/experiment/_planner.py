"""The planner: cells whose tensors have equal shapes become stacked ensembles, cut where memory or cache would not hold them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from mmtheory.errors import ArgumentError

from ._executor import Executor, Outcome, Work
from ._sweep import Cell, canonical

MOST = 48
"""Replicates of a stack on a CPU: more do not come cheaper each, and leave the cache."""
MEMORY = 400 << 20
"""Bytes that a stack may hold unless told otherwise."""


def chunks(count: int, *, bytes_each: int = 0, memory: int = MEMORY, most: int = MOST) -> list[range]:
    """0 … count − 1 in as few runs as the limits allow, as equal as can be.

    Replicate r's numbers do not depend on the run it is in, so cutting changes the time and the memory alone.

    :param bytes_each: what one replicate holds; 0 when that does not matter.
    :param most: replicates in one run; a GPU takes as many as its memory holds.
    :raises ArgumentError: a negative count, or one replicate that the memory cannot hold.

    >>> chunks(10, most=4)
    [range(0, 4), range(4, 7), range(7, 10)]
    """
    fit = most if bytes_each == 0 else min(most, memory // bytes_each)
    if count < 0 or fit < 1:
        raise ArgumentError(
            f"chunks: expected a count >= 0 and room for a replicate, found {count} of {bytes_each} bytes in {memory}, most {most}"
        )
    runs = math.ceil(count / fit)
    ends = [math.ceil(count * k / runs) for k in range(runs + 1)] if runs else [0]
    return [range(a, b) for a, b in itertools.pairwise(ends)]


def training_bytes(parameters: int, numbers: int, activations: int = 0, *, element: int = 4) -> int:
    """What one replicate of a training holds: parameters with gradient, two moments and a spare, its data, a batch's activations twice.

    :param parameters: of the model with its auxiliary parts.
    :param numbers: in the replicate's own training data.
    :param activations: numbers that one mini-batch's forward pass keeps.

    >>> training_bytes(100, 1000, 10)
    6080
    """
    return element * (5 * parameters + numbers + 2 * activations)


@final
@dataclass(frozen=True)
class Stack:
    """Cells of one experiment that are trained together, one place on the replicate axis each.

    :param varying: factors in which they may differ (seeds, dials, learning rates, strengths); in all others they are equal.
    """

    cells: tuple[Cell, ...]
    varying: tuple[str, ...]

    @property
    def same(self) -> dict[str, Any]:
        """The factors that all cells share."""
        return {k: v for k, v in self.cells[0].factors.items() if k not in self.varying}

    def column(self, factor: str) -> list[Any]:
        """One factor's value in each cell."""
        return [cell.factors[factor] for cell in self.cells]

    def as_cell(self) -> Cell:
        """The stack as an executor takes it: ``same``, and for each place the factors that vary."""
        rows = [{k: cell.factors[k] for k in self.varying} for cell in self.cells]
        first = self.cells[0]
        return Cell(first.experiment, {"same": self.same, "rows": rows}, first.version)


def stacks(
    cells: Iterable[Cell],
    varying: Collection[str],
    *,
    bytes_each: Callable[[Mapping[str, Any]], int] = lambda _same: 0,
    memory: int = MEMORY,
    most: int = MOST,
) -> list[Stack]:
    """Cells grouped by all factors outside ``varying``, every group cut into chunks; cells keep their order within a group.

    :param varying: factors that change numbers but no tensor's shape.
    :param bytes_each: what one cell holds, from the factors that its group shares.
    :raises ArgumentError: a cell without one of the varying factors.

    >>> sweep = [Cell("e", {"width": w, "seed": s}) for w in (8, 16) for s in range(3)]
    >>> [len(s.cells) for s in stacks(sweep, ["seed"], most=2)]
    [2, 1, 2, 1]
    """
    names = tuple(sorted(varying))
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        if missing := [k for k in names if k not in cell.factors]:
            raise ArgumentError(
                f"planner: expected every cell to have the factors {list(names)}, found {cell} without {missing}"
            )
        same = {k: v for k, v in cell.factors.items() if k not in names}
        groups.setdefault(canonical([cell.experiment, cell.version, same]), []).append(cell)
    found: list[Stack] = []
    for group in groups.values():
        whole = Stack(tuple(group), names)
        size = bytes_each(whole.same)
        runs = chunks(len(group), bytes_each=size, memory=memory, most=most)
        found += [Stack(whole.cells[run.start : run.stop], names) for run in runs]
    return found


def run_stacks(
    executor: Executor, work: Work, planned: Sequence[Stack], on_note: Callable[[Stack, Any], None]
) -> Iterator[Outcome]:
    """One outcome a cell: an executor trains whole stacks, and what they measured is dealt out again.

    ``work`` gets the factors ``same`` and ``rows`` of ``Stack.as_cell`` and returns ``{"rows": [...]}``, what each place measured.
    """
    by_id = {stack.as_cell().id: stack for stack in planned}
    for outcome in executor.run(work, [s.as_cell() for s in planned], lambda cell, note: on_note(by_id[cell.id], note)):
        stack = by_id[outcome.cell.id]
        rows = None if outcome.measured is None else outcome.measured["rows"]
        for k, cell in enumerate(stack.cells):
            yield Outcome(cell, None if rows is None else rows[k], outcome.failure)
