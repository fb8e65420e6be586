"""Exercises on a smart watch: accelerometer and gyroscope of ten people doing seven shoulder exercises, 140 recordings (SPAR).

Read as the PyPI package seglearn 1.2.5 carries it. A recording is cut into windows of 150 steps that overlap by half, so windows of one
recording share measurements: both splits keep recordings whole, and the first keeps people whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._tables import Table, TableDataset
from ._unpickle import field_of, unpickled_array

WINDOW, STEP = 150, 75
COLUMNS = {"accelerometer": ["ax", "ay", "az"], "gyroscope": ["wx", "wy", "wz"]}


@final
class Watch(TableDataset):
    """Windows of both sensors."""

    name: ClassVar[str] = "watch"
    title: ClassVar[str] = "SPAR shoulder exercises: accelerometer and gyroscope of a watch"
    licence: ClassVar[str] = "BSD-3 (seglearn)"
    source: ClassVar[str] = "ships with the PyPI package seglearn 1.2.5"
    ships: ClassVar[tuple[str, str] | None] = ("seglearn==1.2.5", "seglearn/data")
    layout: ClassVar[tuple[str, ...]] = ("watch_dataset.npy",)
    classes: tuple[str, ...] = ("PEN", "ABD", "FEL", "IR", "ER", "TRAP", "ROW")
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((WINDOW, 3), "sequence") for m in COLUMNS})
    splits: ClassVar[tuple[str, ...]] = ("subject", "recording")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 3046})

    def open_table(self) -> Table:
        path = self.root / "watch_dataset.npy"
        held = unpickled_array(path)
        recordings, y, people = (field_of(path, held, key) for key in ("X", "y", "subject"))
        named = (list(field_of(path, held, "y_labels")), list(field_of(path, held, "X_labels")))
        if named != (list(self.classes), [c for columns in COLUMNS.values() for c in columns]):
            raise DataError(f"{path}: expected classes {', '.join(self.classes)} and columns ax to wz, found {named}")
        if not len(recordings) == len(y) == len(people):
            raise DataError(
                f"{path}: expected X, y and subject of equal length, found {len(recordings)}, {len(y)}, {len(people)}"
            )
        cut: list[np.ndarray] = []
        owner: list[int] = []
        for i, recording in enumerate(recordings):
            values = np.asarray(recording, dtype=np.float64)
            if values.ndim != 2 or values.shape[1] != 6 or len(values) < WINDOW:
                raise DataError(
                    f"{path}: expected recordings [t >= {WINDOW}, 6], found {values.shape} in recording {i}"
                )
            windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW, axis=0)[::STEP].transpose(0, 2, 1)
            cut.append(windows)
            owner += [i] * len(windows)
        x, labels = np.concatenate(cut), np.asarray(y, dtype=np.int64)
        if not ((labels >= 0) & (labels < len(self.classes))).all():
            raise DataError(
                f"{path}: expected labels 0 to {len(self.classes) - 1}, found {sorted(set(labels.tolist()))}"
            )
        names = tuple(f"recording {i} step {STEP * (k - owner.index(i))}" for k, i in enumerate(owner))
        groups = {"subject": tuple(f"{people[i]}" for i in owner), "recording": tuple(f"{i}" for i in owner)}
        parts = {m: x[:, :, 3 * j : 3 * j + 3] for j, m in enumerate(COLUMNS)}
        return Table(parts, Index(names, torch.from_numpy(labels[owner]), groups), dict.fromkeys(parts, path))

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("watch double",)).numpy()
        root.mkdir(parents=True, exist_ok=True)
        y, people = np.tile(np.arange(7), 6), np.repeat(np.arange(1, 7), 7)
        held = {
            "X": [generator.standard_normal((WINDOW + STEP, 6)) + np.sin(np.arange(6) * k) for k in y],
            "y": y, "subject": people, "y_labels": list(cls.classes), "X_labels": [c for cs in COLUMNS.values() for c in cs],
        }  # fmt: skip
        np.save(root / "watch_dataset.npy", np.array(held, dtype=object), allow_pickle=True)
        return mark_double(root, samples=84, classes=7)
