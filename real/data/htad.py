"""HTAD: home-task activities heard by a microphone and felt by a wrist accelerometer.

1,386 windows of seven activities; 36 audio features (statistics of MFCCs) and 16 accelerometer features. The file ships inside the PyPI
package ``multiviewstacking`` 0.7.5. It is released for research and education; competitions and commercial use need the author's
written permission; cite Garcia-Ceja et al. 2021, https://link.springer.com/chapter/10.1007/978-3-030-67835-7_17.

The file does not say which person a window is of, so windows of one person stand on both sides of every split: accuracies are optimistic
for a new person, and only differences between methods on the same splits should be read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch

from mmtheory.batch import Batch
from mmtheory.errors import DataError

from ._dataset import Dataset, Index, Part, mark_double
from ._files import fields_of, label_of, numbers_of, rows

PREFIXES = {"audio": "v1_", "accelerometer": "v2_"}
WIDTHS = {"audio": 36, "accelerometer": 16}
CLASSES = ("brush_teeth", "eat_chips", "mop_floor", "sweep", "type_on_keyboard", "wash_hands", "watch_tv")
SAMPLES = 1386


def path() -> Path:
    """Where the file lies in the installed package, which is not imported.

    :raises DataError: the package is not installed.
    """
    spec = find_spec("multiviewstacking")
    if spec is None or spec.origin is None:
        raise DataError(
            "HTAD: expected the package multiviewstacking, which ships htad.csv, found none; pip install multiviewstacking==0.7.5"
        )
    return Path(spec.origin).parent / "data" / "htad.csv"


def load(file: Path | None = None, *, samples: int | None = SAMPLES) -> Batch:
    """Every window: ``audio`` [n, 36], ``accelerometer`` [n, 16], labels as indices into CLASSES, row numbers as ids.

    :param file: another file of the same layout; None takes the installed package's.
    :param samples: how many rows to insist on; None for any number.
    :raises DataError: a missing file or column, a label outside the map, a number that is none, or a wrong count, naming line and column.
    """
    source = file or path()
    header, *told = rows(source)
    names = header[1]
    columns = {m: [i for i, name in enumerate(names) if name.startswith(p)] for m, p in PREFIXES.items()}
    found = {m: len(c) for m, c in columns.items()}
    if "class" not in names or found != WIDTHS:
        raise DataError(
            f"{source}: expected columns class, {WIDTHS['audio']} of v1_ and {WIDTHS['accelerometer']} of v2_, found {found} and {names[:3]}…"
        )
    if samples is not None and len(told) != samples:
        raise DataError(f"{source}: expected {samples} rows, found {len(told)}")
    table = [(line, fields_of(source, line, fields, len(names))) for line, fields in told]
    y = torch.tensor([label_of(source, line, fields[names.index("class")], CLASSES) for line, fields in table])
    x = {
        m: torch.tensor(
            [numbers_of(source, line, [fields[c] for c in chosen]) for line, fields in table], dtype=torch.float64
        )
        for m, chosen in columns.items()
    }
    return Batch(x, y, ids=torch.arange(len(table))).checked()


def write_double(file: Path, *, rows: int = 70, seed: int = 0) -> Path:
    """A tiny generated file of the same layout, for tests: class means a unit apart in both modalities, unit noise."""
    from mmtheory.rng import Stream

    draws = Stream(seed, ("htad double",)).draws()
    noise = draws.normal("noise", rows, sum(WIDTHS.values()))
    with file.open("w", newline="") as lines:
        out = csv.writer(lines)
        out.writerow(["class", *(f"{PREFIXES[m]}{i}" for m, d in WIDTHS.items() for i in range(d))])
        for r in range(rows):
            k = r % len(CLASSES)
            out.writerow([CLASSES[k], *((noise[r] + (torch.arange(noise.shape[1]) % len(CLASSES) == k)).tolist())])
    return file


@final
class Htad(Dataset):
    """The installed package's file, or ``htad.csv`` in a folder."""

    name: ClassVar[str] = "htad"
    title: ClassVar[str] = "HTAD home-task activities: audio and wrist accelerometer"
    licence: ClassVar[str] = (
        "research and education; cite Garcia-Ceja et al. 2021; other uses need the author's permission"
    )
    source: ClassVar[str] = "ships with the PyPI package multiviewstacking 0.7.5"
    layout: ClassVar[tuple[str, ...]] = ("htad.csv",)
    classes: tuple[str, ...] = CLASSES
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((d,)) for m, d in WIDTHS.items()})
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": SAMPLES})
    needs_root: ClassVar[bool] = False

    @cached_property
    def table(self) -> Batch:
        """The file, read once."""
        return load(self.file, samples=None)

    @property
    def file(self) -> Path:
        """The file that is read."""
        return path() if self._root is None else self._root / "htad.csv"

    def files(self) -> Iterator[Path]:
        yield self.file

    def read_index(self) -> Index:
        return Index(tuple(f"row {line}" for line in range(2, self.table.n + 2)), self.table.y)

    def read(self, rows: range) -> dict[str, np.ndarray]:
        return {m: v[rows.start : rows.stop].numpy() for m, v in self.table.x.items()}

    @classmethod
    def write_double(cls, root: Path) -> Path:
        mark_double(root, samples=70)
        write_double(root / "htad.csv")
        return root
