"""UR-FUNNY: is the end of a talk's sentence a punchline, by its words, voice and face?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._splits import TEST, TRAIN, VALIDATION
from ._tables import Table, TableDataset
from ._unpickle import field_of, unpickled, write_pickle

STEPS = 40
WIDTHS = {"text": 300, "audio": 81, "vision": 371}
KEYS = {
    "audio": ("punchline_features",),
    "vision": ("punchline_features",),
    "text": ("punchline_embedding_indexes", "punchline_features"),
}
FILES = {
    "text": ("language_sdk", "langauge_sdk"),
    "audio": ("covarep_features_sdk",),
    "vision": ("openface_features_sdk",),
}


@final
class UrFunny(TableDataset):
    """The last forty words of the punchline, aligned; the context before it is left out."""

    name: ClassVar[str] = "ur-funny"
    title: ClassVar[str] = "UR-FUNNY v2: punchlines in talks, words, voice and face"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "github.com/ROC-HCI/UR-FUNNY, version 2, the six pickles"
    layout: ClassVar[tuple[str, ...]] = (
        "data_folds.pkl", "humor_label_sdk.pkl", "language_sdk.pkl", "word_embedding_list.pkl", "covarep_features_sdk.pkl", "openface_features_sdk.pkl",
    )  # fmt: skip
    classes: tuple[str, ...] = ("serious", "humour")
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((STEPS, d), "sequence") for m, d in WIDTHS.items()})
    splits: ClassVar[tuple[str, ...]] = ("official", "random")

    def open_table(self) -> Table:
        folds, labels = self.root / "data_folds.pkl", self.root / "humor_label_sdk.pkl"
        held, told = unpickled(folds), unpickled(labels)
        names: list[Any] = []
        codes: list[int] = []
        for part, code in (("train", TRAIN), ("dev", VALIDATION), ("test", TEST)):
            members = list(field_of(folds, held, part))
            names += members
            codes += [code] * len(members)
        y: list[int] = []
        for name in names:
            if name not in told or int(told[name]) not in {0, 1}:
                raise DataError(
                    f"{labels}: expected 0 or 1 for {name}, found {told.get(name) if isinstance(told, dict) else told}"
                )
            y.append(int(told[name]))
        files = {m: self._file(m) for m in self.modalities}
        x = {m: self._steps(m, file, names) for m, file in files.items()}
        index = Index(tuple(map(str, names)), torch.tensor(y), {}, {"official": torch.tensor(codes)})
        return Table(x, index, {**files, "": folds})

    def _file(self, modality: str) -> Path:
        """Where a modality lies: the data set's own page spells one file in two ways."""
        candidates = [self.root / f"{file}.pkl" for file in FILES[modality]]
        return next((p for p in candidates if p.exists()), candidates[0])

    def _steps(self, modality: str, path: Path, names: Sequence[Any]) -> np.ndarray:
        """[n, 40, d] of one modality: the last words, zeros in front."""
        held = unpickled(path)
        vectors = (
            np.asarray(unpickled(self.root / "word_embedding_list.pkl"), dtype=np.float32)
            if modality == "text"
            else None
        )
        found = np.zeros((len(names), STEPS, WIDTHS[modality]), dtype=np.float32)
        for row, name in enumerate(names):
            said = held.get(name) if isinstance(held, dict) else None
            key = next((k for k in KEYS[modality] if isinstance(said, dict) and k in said), None)
            if key is None or not isinstance(said, dict):
                raise DataError(f"{path}: expected {' or '.join(KEYS[modality])} of {name}, found none")
            values = np.asarray(said[key])[-STEPS:]
            if vectors is not None:
                if len(values) and not (values.min() >= 0 and values.max() < len(vectors)):
                    raise DataError(f"{path}: expected words 0 to {len(vectors) - 1} in {name}, found {values.max()}")
                values = vectors[values.astype(np.int64)]
            if len(values):
                if values.ndim != 2 or values.shape[1] != WIDTHS[modality]:
                    raise DataError(
                        f"{path}: expected {WIDTHS[modality]} numbers a word in {name}, found shape {values.shape}"
                    )
                found[row, STEPS - len(values) :] = np.where(np.isneginf(values), 0, values)
        return found

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("ur-funny double",)).numpy()
        folds = {"train": list(range(16)), "dev": list(range(16, 22)), "test": list(range(22, 30))}
        label = {i: i % 2 for i in range(30)}
        write_pickle(root / "data_folds.pkl", folds)
        write_pickle(root / "humor_label_sdk.pkl", label)
        write_pickle(root / "word_embedding_list.pkl", generator.standard_normal((20, 300)).tolist())
        words = {
            i: {"punchline_embedding_indexes": generator.integers(10 * label[i], 10 + 10 * label[i], 5 + i).tolist()}
            for i in label
        }
        write_pickle(root / "language_sdk.pkl", words)
        for file, width in (("covarep", 81), ("openface", 371)):
            steps = {
                i: {"punchline_features": (generator.standard_normal((5 + i, width)) + label[i]).tolist()}
                for i in label
            }
            write_pickle(root / f"{file}_features_sdk.pkl", steps)
        return mark_double(root, samples=30, official_train=16, official_validation=6, official_test=8)
