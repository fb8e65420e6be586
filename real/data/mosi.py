"""CMU-MOSI and CMU-MOSEI: opinions in words, voice and face, as MMSA's aligned pickles hold them.

The target is the sentiment's sign with zero counted as not negative (``has0``): the library's loop classifies. Videos are on one side only.
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
from ._splits import TEST, TRAIN, VALIDATION
from ._tables import Table, TableDataset
from ._unpickle import field_of, unpickled, write_pickle

PARTS = {"train": TRAIN, "valid": VALIDATION, "test": TEST}
TOKENS, WORDS = 50, 768
DOUBLED = {"train": 12, "valid": 6, "test": 6}


class Opinions(TableDataset):
    """Fifty aligned steps of words, voice and face."""

    classes: tuple[str, ...] = ("negative", "not negative")
    splits: ClassVar[tuple[str, ...]] = ("official", "video", "random")
    folder: ClassVar[str]

    def open_table(self) -> Table:
        path = next(
            (
                p
                for p in (self.root / self.folder / "Processed" / "aligned_50.pkl", self.root / "aligned_50.pkl")
                if p.exists()
            ),
            self.root / self.folder / "Processed" / "aligned_50.pkl",
        )
        held = unpickled(path)
        x: dict[str, list[np.ndarray]] = {m: [] for m in self.modalities}
        y: list[np.ndarray] = []
        names: list[str] = []
        codes: list[int] = []
        for part, code in PARTS.items():
            labels = np.asarray(field_of(path, held, part, "regression_labels"), dtype=np.float64).ravel()
            if not (np.abs(labels) <= 3).all():
                raise DataError(
                    f"{path}, {part}: expected sentiments between −3 and 3, found {labels[~(np.abs(labels) <= 3)][0]}"
                )
            for m in x:
                values = np.asarray(field_of(path, held, part, m), dtype=np.float32)
                x[m].append(np.where(np.isneginf(values), 0, values) if m == "audio" else values)
                if len(values) != len(labels):
                    raise DataError(f"{path}, {part}: expected {len(labels)} rows of {m}, found {len(values)}")
            y.append(labels >= 0)
            names += [str(name) for name in field_of(path, held, part, "id")]
            codes += [code] * len(labels)
        index = Index(
            tuple(names),
            torch.from_numpy(np.concatenate(y)).long(),
            {"video": tuple(name.split("$_$")[0] for name in names)},
            {"official": torch.tensor(codes)},
        )
        return Table({m: np.concatenate(v) for m, v in x.items()}, index, dict.fromkeys(["", *x], path))

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, (cls.name, "double")).numpy()
        held: dict[str, dict[str, object]] = {}
        for part, n in DOUBLED.items():
            labels = np.where(np.arange(n) % 2, 1.0, -1.0) * (1 + np.arange(n) % 3)
            held[part] = {
                m: (generator.standard_normal((n, *p.shape)) + labels[:, None, None]).astype(np.float32)
                for m, p in cls.modalities.items()
            }
            held[part] |= {"regression_labels": labels, "id": [f"{part}{i // 2}$_${i % 2}" for i in range(n)]}
        first = held["train"]["audio"]
        if isinstance(first, np.ndarray):
            first[0, 0, 0] = -np.inf
        write_pickle(root / cls.folder / "Processed" / "aligned_50.pkl", held)
        return mark_double(root, samples=24, official_train=12, official_validation=6, official_test=6)


@final
class CmuMosi(Opinions):
    """2,199 clips of 93 videos."""

    name: ClassVar[str] = "cmu-mosi"
    title: ClassVar[str] = "CMU-MOSI: the sign of opinions in words, voice and face"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "github.com/thuiar/MMSA, MOSI/Processed/aligned_50.pkl"
    layout: ClassVar[tuple[str, ...]] = ("[MOSI/Processed/]aligned_50.pkl",)
    folder: ClassVar[str] = "MOSI"
    modalities: Mapping[str, Part] = MappingProxyType({
        "text": Part((TOKENS, WORDS), "sequence"), "audio": Part((TOKENS, 5), "sequence"), "vision": Part((TOKENS, 20), "sequence"),
    })  # fmt: skip
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({
        "samples": 2199, "official train": 1284, "official validation": 229, "official test": 686,
    })  # fmt: skip


@final
class CmuMosei(Opinions):
    """22,856 clips."""

    name: ClassVar[str] = "cmu-mosei"
    title: ClassVar[str] = "CMU-MOSEI: the sign of opinions in words, voice and face"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "github.com/thuiar/MMSA, MOSEI/Processed/aligned_50.pkl"
    layout: ClassVar[tuple[str, ...]] = ("[MOSEI/Processed/]aligned_50.pkl",)
    folder: ClassVar[str] = "MOSEI"
    modalities: Mapping[str, Part] = MappingProxyType({
        "text": Part((TOKENS, WORDS), "sequence"), "audio": Part((TOKENS, 74), "sequence"), "vision": Part((TOKENS, 35), "sequence"),
    })  # fmt: skip
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({
        "samples": 22856, "official train": 16326, "official validation": 1871, "official test": 4659,
    })  # fmt: skip
