"""UPMC Food-101: a dish's picture and the text of the page it was found on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from mmtheory.errors import DataError

from ._dataset import mark_double
from ._files import fields_of, rows
from ._illustrated import Illustrated
from ._media import write_picture
from ._samples import Sample
from ._splits import TEST, TRAIN

PARTS = {"train": TRAIN, "test": TEST}


@final
class Food101(Illustrated):
    """Text as hashed words; as tokens where a local BERT reads them, as in the literature."""

    name: ClassVar[str] = "food-101"
    title: ClassVar[str] = "UPMC Food-101: pictures of dishes and the text around them"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = (
        "visiir.isir.upmc.fr (images/ and texts_txt/), or Kaggle gianmarco96/upmcfood101 (images/ and texts/)"
    )
    layout: ClassVar[tuple[str, ...]] = (
        "images/{train,test}/<label>/<label>_<n>.jpg", "texts_txt/<label>/<label>_<n>.txt or texts/{train,test}_titles.csv",
    )  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"classes": 101})
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType({"official test": 22716})

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self.classes = tuple(sorted(p.name for p in (self.root / "images" / "train").glob("*") if p.is_dir()))
        if not self.classes:
            raise DataError(f"{self.root / 'images' / 'train'}: expected a folder a dish, found none")

    def list_samples(self) -> list[Sample]:
        titles = self._titles()
        found: list[Sample] = []
        for part, code in PARTS.items():
            for k, label in enumerate(self.classes):
                for image in sorted((self.root / "images" / part / label).glob("*.jpg")):
                    held = self.root / "texts_txt" / label / f"{image.stem}.txt"
                    words: Path | str | None = titles.get(image.name) or (held if held.exists() else None)
                    if words is None:
                        raise DataError(f"{held}: expected the text of {image.name}, found none, nor a title in texts/")
                    found.append(Sample(image.stem, k, {"image": image, "text": words}, {"official": code}))
        return found

    def _titles(self) -> dict[str, str]:
        """Picture → title, of the Kaggle layout; its files come with and without a header."""
        titles: dict[str, str] = {}
        for part in PARTS:
            path = self.root / "texts" / f"{part}_titles.csv"
            for line, fields in rows(path, errors="replace") if path.exists() else ():
                name, title, label = fields_of(path, line, fields, 3)
                if line == 1 and label == "label":
                    continue
                if label not in self.classes:
                    raise DataError(
                        f"{path}, line {line}: expected a dish among the folders of images/train, found {label!r}"
                    )
                titles[Path(name).name] = title
        return titles

    @classmethod
    def write_double(cls, root: Path) -> Path:
        for k, label in enumerate(("apple_pie", "ramen", "tacos")):
            for i in range(8):
                name = f"{label}_{i}"
                write_picture(
                    root / "images" / ("train" if i < 6 else "test") / label / f"{name}.jpg", 10 * k + i, tint=60 * k
                )
                held = root / "texts_txt" / label / f"{name}.txt"
                held.parent.mkdir(parents=True, exist_ok=True)
                held.write_text(f"How we cook {label.replace('_', ' ')}, recipe {i}")
        return mark_double(root, samples=24, classes=3, official_train=18, official_test=6)
