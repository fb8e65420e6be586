"""Features of pictures and articles that multi-view papers train on: Wikipedia sections and Scene-15."""

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
from ._files import fields_of, rows, text
from ._mat import matrices, write_matrices
from ._splits import TEST, TRAIN
from ._tables import Table, TableDataset


@final
class Wikipedia(TableDataset):
    """Visual words of the picture and topics of the section it stands in: joint training is worse than the text alone."""

    name: ClassVar[str] = "wikipedia"
    title: ClassVar[str] = "Wikipedia sections: visual words and topics"
    licence: ClassVar[str] = "articles CC BY-SA"
    source: ClassVar[str] = "github.com/emanuetre/crossmodal (Rasiwasia et al. 2010)"
    layout: ClassVar[tuple[str, ...]] = ("raw_features.mat", "{train,test}set_txt_img_cat.list", "categories.list")
    classes: tuple[str, ...] = (
        "art", "biology", "geography", "history", "literature", "media", "music", "royalty", "sport", "warfare",
    )  # fmt: skip
    modalities: Mapping[str, Part] = MappingProxyType({"image": Part((128,)), "text": Part((10,))})
    splits: ClassVar[tuple[str, ...]] = ("official", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType(
        {"samples": 2866, "official train": 2173, "official test": 693}
    )

    def open_table(self) -> Table:
        path = self.root / "raw_features.mat"
        held = matrices(path, "I_tr", "I_te", "T_tr", "T_te")
        named = [n.strip() for n in text(self.root / "categories.list").split("\n") if n.strip()]
        if named != list(self.classes):
            raise DataError(
                f"{self.root / 'categories.list'}: expected the categories {', '.join(self.classes)}, found {', '.join(named)}"
            )
        names: list[str] = []
        y: list[int] = []
        codes: list[int] = []
        for part, end, code in (("train", "tr", TRAIN), ("test", "te", TEST)):
            listed = self.root / f"{part}set_txt_img_cat.list"
            before = len(y)
            for line, fields in rows(listed, delimiter="\t", quoted=False):
                article, picture, label = fields_of(listed, line, fields, 3)
                if not label.strip().isdigit() or not 1 <= int(label) <= len(named):
                    raise DataError(f"{listed}, line {line}: expected a category 1 to {len(named)}, found {label!r}")
                names.append(f"{article} {picture}")
                y.append(int(label) - 1)
                codes.append(code)
            for m in "IT":
                if len(held[f"{m}_{end}"]) != len(y) - before:
                    raise DataError(
                        f"{path}: expected {len(y) - before} rows of {m}_{end}, one a line of {listed.name}, found {len(held[f'{m}_{end}'])}"
                    )
        x = {m: np.concatenate([held[f"{k}_tr"], held[f"{k}_te"]]) for m, k in (("image", "I"), ("text", "T"))}
        index = Index(tuple(names), torch.tensor(y), {}, {"official": torch.tensor(codes)})
        return Table(x, index, {"": listed, **dict.fromkeys(x, path)})

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        generator = Stream(0, ("wikipedia double",)).numpy()
        arrays: dict[str, np.ndarray] = {}
        for part, end, n in (("train", "tr", 40), ("test", "te", 20)):
            labels = np.arange(n) % 10
            arrays[f"I_{end}"] = (
                generator.random((n, 128)) + np.eye(10)[labels] @ np.ones((10, 128)) * labels[:, None] / 10
            )
            arrays[f"T_{end}"] = generator.random((n, 10)) + np.eye(10)[labels]
            lines = (f"{part}{i}-1\t{part}{i}\t{k + 1}\n" for i, k in enumerate(labels.tolist()))
            (root / f"{part}set_txt_img_cat.list").write_text("".join(lines))
        (root / "categories.list").write_text("\n".join(cls.classes) + "\n")
        write_matrices(root / "raw_features.mat", arrays)
        return mark_double(root, samples=60, official_train=40, official_test=20)


@final
class Scene15(TableDataset):
    """Three descriptors of scenes; 18 samples are exact copies of others."""

    name: ClassVar[str] = "scene-15"
    title: ClassVar[str] = "Scene-15: three descriptors of indoor and outdoor scenes"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "github.com/JethroJames/TUNED, scene15_mtv.mat"
    layout: ClassVar[tuple[str, ...]] = ("scene15_mtv.mat",)
    classes: tuple[str, ...] = tuple(f"scene {k}" for k in range(1, 16))
    modalities: Mapping[str, Part] = MappingProxyType({"gist": Part((20,)), "phog": Part((59,)), "lbp": Part((40,))})
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 4485})

    def open_table(self) -> Table:
        path = self.root / "scene15_mtv.mat"
        held = matrices(path, "X", "gt")
        views = [np.asarray(v, dtype=np.float64).T for v in held["X"].ravel()]
        y = held["gt"].ravel().astype(np.int64) - 1
        if [v.shape for v in views] != [(len(y), *p.shape) for p in self.modalities.values()]:
            raise DataError(
                f"{path}: expected views of widths 20, 59, 40 for {len(y)} scenes, found {[v.shape for v in views]}"
            )
        if not ((y >= 0) & (y < 15)).all():
            raise DataError(f"{path}: expected labels 1 to 15, found {sorted(set((y + 1).tolist()))}")
        names = tuple(f"scene {i}" for i in range(len(y)))
        x = dict(zip(self.modalities, views, strict=True))
        return Table(x, Index(names, torch.from_numpy(y)), dict.fromkeys(x, path))

    @classmethod
    def write_double(cls, root: Path) -> Path:
        generator = Stream(0, ("scene double",)).numpy()
        y = np.arange(75) % 15
        views = np.empty((1, 3), dtype=object)
        for i, part in enumerate(cls.modalities.values()):
            views[0, i] = (
                generator.standard_normal((75, *part.shape)) + 2 * (np.arange(part.shape[0]) % 15 == y[:, None])
            ).T
        write_matrices(root / "scene15_mtv.mat", {"X": views, "gt": (y + 1).astype(np.uint8)[:, None]})
        return mark_double(root, samples=75)
