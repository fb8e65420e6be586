"""Data sets whose samples are rows of arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ._dataset import Dataset, Index

BLOCK = 1024
"""Samples that are looked at in one go."""


@dataclass(frozen=True)
class Table:
    """Arrays [n, …] by modality, which may be memory-mapped, and the index of their rows.

    :param files: where each modality was read from; "" where the samples' names were.
    """

    x: Mapping[str, np.ndarray]
    index: Index
    files: Mapping[str, Path] = field(default_factory=dict[str, Path])


class TableDataset(Dataset):
    """A data set that comes as arrays."""

    @abstractmethod
    def open_table(self) -> Table:
        """Read what is needed for the index; arrays may stay on disk."""

    @cached_property
    def table(self) -> Table:
        """The arrays, opened once."""
        return self.open_table()

    def read_index(self) -> Index:
        return self.table.index

    def read(self, rows: range) -> dict[str, np.ndarray]:
        return {m: np.asarray(v[rows.start : rows.stop]) for m, v in self.table.x.items()}

    def files(self) -> Iterator[Path]:
        return iter(sorted(set(self.table.files.values())))

    def origin(self, row: int, modality: str = "") -> str:
        return str(self.table.files.get(modality) or super().origin(row))

    def looks(self) -> Iterator[range]:
        n = len(self.index)
        return (range(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))
