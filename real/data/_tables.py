"""Data sets whose samples are rows of arrays."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ._dataset import Dataset, Index


@dataclass(frozen=True)
class Table:
    """Arrays [n, …] by modality, which may be memory-mapped, and the index of their rows."""

    x: Mapping[str, np.ndarray]
    index: Index


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
