"""MIMIC-III in MultiBench's layout: a patient's five static numbers and 24 hours of twelve measurements; when did they die?

Access needs credentials from PhysioNet. MultiBench standardises over all patients, test included; here the training part alone is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random  # noqa: TID251 (MultiBench's published split is an order of this generator, seed 10)
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


@final
class MimicIii(TableDataset):
    """The class is the first of the mortality columns 1 to 5 that is positive, or none; the hospital column 0 is not used."""

    name: ClassVar[str] = "mimic-iii"
    title: ClassVar[str] = "MIMIC-III (MultiBench): time of death from static and hourly measurements"
    licence: ClassVar[str] = "PhysioNet credentialed data use agreement"
    source: ClassVar[str] = "physionet.org/content/mimiciii, made into im.pk by MultiBench's preparation"
    layout: ClassVar[tuple[str, ...]] = ("im.pk",)
    classes: tuple[str, ...] = ("none", "24 hours", "48 hours", "72 hours", "30 days", "1 year")
    modalities: Mapping[str, Part] = MappingProxyType({
        "static": Part((5,)), "series": Part((24, 12), "sequence"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("multibench", "random")

    def open_table(self) -> Table:
        path = self.root / "im.pk"
        held = unpickled(path)
        names = ("adm_features_all", "ep_tdata", "adm_labels_all")
        static, series, labels = (np.asarray(field_of(path, held, name), dtype=np.float64) for name in names)
        n = len(labels)
        if static.shape != (n, 5) or series.shape != (n, 24, 12) or labels.shape != (n, 6):
            raise DataError(
                f"{path}: expected arrays [n, 5], [n, 24, 12], [n, 6], found {static.shape}, {series.shape}, {labels.shape}"
            )
        died = labels[:, 1:] > 0
        y = np.where(died.any(1), died.argmax(1) + 1, 0)
        order = list(range(n))
        Random(10).shuffle(order)
        codes = torch.full((n,), TRAIN)
        codes[order[: n // 10]], codes[order[n // 10 : n // 5]] = VALIDATION, TEST
        index = Index(tuple(f"admission {i}" for i in range(n)), torch.from_numpy(y), {}, {"multibench": codes})
        # NaN and infinity stand for "not measured" there, and count as zero.
        x = {"static": static, "series": series}
        whole = {m: np.nan_to_num(v, nan=0.0, posinf=0.0, neginf=0.0) for m, v in x.items()}
        return Table(whole, index, {"": path})

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("mimic double",)).numpy()
        labels = np.zeros((60, 6))
        for i in range(60):
            labels[i, 1 + i % 6 :] = 1
        series = generator.standard_normal((60, 24, 12))
        series[3, 4, 5] = np.nan
        write_pickle(root / "im.pk", {
            "adm_features_all": generator.standard_normal((60, 5)), "ep_tdata": series, "adm_labels_all": labels, "y_icd9": np.zeros((60, 20)),
        })  # fmt: skip
        return mark_double(root, samples=60)
