"""Tweets with pictures: MVSA (sentiment of the whole) and Twitter2015 (sentiment towards a target)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from mmtheory.errors import DataError

from ._dataset import mark_double
from ._files import fields_of, label_of, rows
from ._illustrated import Illustrated
from ._media import write_picture
from ._samples import Sample
from ._splits import TEST, TRAIN, VALIDATION

SENTIMENTS = ("positive", "neutral", "negative")


@final
class MvsaSingle(Illustrated):
    """One annotator's sentiments of text and picture, made one: equal ones stay, neutral gives way, opposites are dropped."""

    name: ClassVar[str] = "mvsa-single"
    title: ClassVar[str] = "MVSA-Single: sentiment of tweets with a picture"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "mcrlab.net/research/mvsa-sentiment-analysis-on-multi-view-social-data"
    layout: ClassVar[tuple[str, ...]] = ("labelResultAll.txt", "data/<id>.jpg and data/<id>.txt")
    classes: tuple[str, ...] = SENTIMENTS
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 4511})

    def list_samples(self) -> list[Sample]:
        path = self.root / "labelResultAll.txt"
        found: list[Sample] = []
        for line, fields in rows(path, delimiter="\t", quoted=False):
            name, pair = fields_of(path, line, fields, 2)
            if line == 1 and name == "ID":
                continue
            words = fields_of(path, line, pair.split(","), 2)
            said, shown = (label_of(path, line, word.strip(), SENTIMENTS) for word in words)
            if {said, shown} == {0, 2}:
                continue
            label = said if said == shown or shown == 1 else shown
            files: dict[str, Path | str] = {
                "image": self.root / "data" / f"{name}.jpg",
                "text": self.root / "data" / f"{name}.txt",
            }
            found.append(Sample(name, label, files))
        return found

    @classmethod
    def write_double(cls, root: Path) -> Path:
        lines = ["ID\ttext,image"]
        for i in range(30):
            word = SENTIMENTS[i % 3]
            write_picture(root / "data" / f"{i}.jpg", i, tint=60 * (i % 3))
            (root / "data" / f"{i}.txt").write_bytes(f"a {word} day caf\xe9 {i}".encode("latin-1"))
            lines.append(f"{i}\t{word},{'neutral' if i % 2 else word}")
        (root / "labelResultAll.txt").write_text("\n".join([*lines, "99\tpositive,negative"]) + "\n")
        return mark_double(root, samples=30)


@final
class Twitter2015(Illustrated):
    """The target stands in the sentence as ``$T$`` and behind it."""

    name: ClassVar[str] = "twitter2015"
    title: ClassVar[str] = "Twitter2015: sentiment towards a target, in tweets with a picture"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = "github.com/jefferyYu/TomBERT (absa_data/twitter2015) and its twitter2015_images"
    layout: ClassVar[tuple[str, ...]] = ("[absa_data/twitter2015/]{train,dev,test}.tsv", "twitter2015_images/<n>.jpg")
    classes: tuple[str, ...] = ("negative", "neutral", "positive")
    splits: ClassVar[tuple[str, ...]] = ("official", "picture", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({
        "samples": 5338, "official train": 3179, "official validation": 1122, "official test": 1037,
    })  # fmt: skip

    def list_samples(self) -> list[Sample]:
        folder = self.root / "absa_data" / "twitter2015"
        folder = folder if folder.is_dir() else self.root
        found: list[Sample] = []
        for file, part in (("train", TRAIN), ("dev", VALIDATION), ("test", TEST)):
            path = folder / f"{file}.tsv"
            for line, fields in rows(path, delimiter="\t", quoted=False):
                _, label, image, sentence, target = fields_of(path, line, fields, 5)
                if line == 1:
                    continue
                number = label_of(path, line, label, ("0", "1", "2"))
                if "$T$" not in sentence:
                    raise DataError(f"{path}, line {line}: expected a sentence with $T$, found {sentence!r}")
                files: dict[str, Path | str] = {
                    "image": self.root / "twitter2015_images" / image,
                    "text": f"{sentence.replace('$T$', target)} [target] {target}",
                }
                found.append(Sample(f"{file} {line}", number, files, {"official": part}, {"picture": image}))
        return found

    @classmethod
    def write_double(cls, root: Path) -> Path:
        for file, count in (("train", 18), ("dev", 6), ("test", 6)):
            lines = ["index\t#1 Label\t#2 ImageID\t#3 String\t#3 String"]
            for i in range(count):
                write_picture(root / "twitter2015_images" / f"{file}{i}.jpg", i, tint=60 * (i % 3))
                lines.append(f'{i}\t{i % 3}\t{file}{i}.jpg\tRT "$T$ is {SENTIMENTS[2 - i % 3]} today\tTeam {i}')
            (root / f"{file}.tsv").write_text("\n".join(lines) + "\n")
        return mark_double(root, samples=30, official_train=18, official_validation=6, official_test=6)
