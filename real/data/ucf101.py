"""UCF101: actions in their colours and in their motion (precomputed TV-L1 flow).

Split 1 to 3 as published, which keep the 25 groups of clips of one scene apart; ``group`` draws other groups.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np

from mmtheory.errors import DataError

from ._dataset import Part, mark_double
from ._files import rows, text
from ._media import clip_in, extracted, first_of, frames, picture, spread, write_picture
from ._samples import Sample, SampleDataset
from ._splits import TEST, TRAIN

NAME = re.compile(r"v_(\w+)_g(\d\d)_c(\d\d)")
FRAMES = 3


@final
class Ucf101(SampleDataset):
    """Three frames, and three pairs of horizontal and vertical flow."""

    name: ClassVar[str] = "ucf101"
    title: ClassVar[str] = "UCF101: human actions, colour frames and optical flow"
    licence: ClassVar[str] = "research use"
    source: ClassVar[str] = (
        "crcv.ucf.edu/data/UCF101.php; flow from github.com/feichtenhofer/twostreamfusion (ucf101_tvl1_flow.zip)"
    )
    layout: ClassVar[tuple[str, ...]] = (
        "ucfTrainTestlist/classInd.txt and {train,test}list0{1,2,3}.txt", "jpegs_256/<clip>/frame000001.jpg or UCF-101/<Class>/<clip>.avi",
        "tvl1_flow/{u,v}/<clip>/frame000001.jpg",
    )  # fmt: skip
    modalities: Mapping[str, Part] = MappingProxyType({
        "flow": Part((2 * FRAMES, 224, 224), "image", "uint8"),
        "rgb": Part((3 * FRAMES, 224, 224), "image", "uint8"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("1", "2", "3", "group", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({
        "samples": 13320, "classes": 101, "1 train": 9537, "1 test": 3783, "2 train": 9586, "2 test": 3734, "3 train": 9624, "3 test": 3696,
    })  # fmt: skip

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        path = self.root / "ucfTrainTestlist" / "classInd.txt"
        names: list[str] = []
        for line, row in enumerate(text(path).splitlines(), 1):
            number, _, name = row.strip().partition(" ")
            if row.strip() and (number != str(len(names) + 1) or not name):
                raise DataError(f"{path}, line {line}: expected '{len(names) + 1} <Class>', found {row!r}")
            names += [name] if name else []
        self.classes = tuple(names)

    def list_samples(self) -> list[Sample]:
        parts: dict[str, dict[str, int]] = {}
        for split in "123":
            for file, part in ((f"trainlist0{split}.txt", TRAIN), (f"testlist0{split}.txt", TEST)):
                path = self.root / "ucfTrainTestlist" / file
                for line, clip in self._list(path):
                    if split in parts.setdefault(clip, {}):
                        raise DataError(f"{path}, line {line}: expected every clip once in split {split}, found {clip}")
                    parts[clip][split] = part
        lower = {name.lower(): k for k, name in enumerate(self.classes)}
        found: list[Sample] = []
        for clip, codes in sorted(parts.items()):
            match = NAME.fullmatch(clip)
            if match is None or match[1].lower() not in lower:
                raise DataError(
                    f"{self.root / 'ucfTrainTestlist'}: expected clips like v_Archery_g01_c01, found {clip}"
                )
            files: dict[str, Path | str] = {}
            for m, place in (("rgb", "jpegs_256"), ("u", "tvl1_flow/u"), ("v", "tvl1_flow/v")):
                held = first_of([self.root / place / written for written in spellings(clip)])
                files[m] = held or self._clip(match[1], clip, place if m != "rgb" else "")
            found.append(Sample(clip, lower[match[1].lower()], files, codes, {"group": f"{match[1]} {match[2]}"}))
        return found

    def _clip(self, name: str, clip: str, place: str) -> Path:
        """The clip as it was downloaded, for colours.

        :raises DataError: there is none, or frames of flow, ``place``, were looked for.
        """
        folders = [self.root / "UCF-101" / written for written in spellings(name)]
        wholes = [] if place else [clip_in(folder, written) for folder in folders for written in spellings(clip)]
        wanted = place or f"UCF-101/{name}/{clip}.avi or jpegs_256"
        return self.need(next((w for w in wholes if w), None), f"{self.root}/{wanted}/{clip}")

    def _list(self, path: Path) -> Iterator[tuple[int, str]]:
        """Line and clip; training lists say the class's number too."""
        numbered = path.name.startswith("train")
        for line, (told, *label) in rows(path, delimiter=" ", quoted=False):
            name, _, clip = told.partition("/")
            if not clip.endswith(".avi") or len(label) != numbered:
                wanted = "<Class>/<clip>.avi" + " and its number" * numbered
                raise DataError(f"{path}, line {line}: expected {wanted}, found {' '.join([told, *label])!r}")
            classes = [c.lower() for c in self.classes]
            if name.lower() not in classes or (label and label[0] != str(classes.index(name.lower()) + 1)):
                raise DataError(
                    f"{path}, line {line}: expected a class of classInd.txt, found {name} {' '.join(label)}"
                )
            yield line, spellings(clip.removesuffix(".avi"))[0]

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if modality == "rgb":
            return frames(self.path(sample, "rgb"), FRAMES, 224)
        u, v = (extracted(self.path(sample, direction)) for direction in "uv")
        pairs = [picture(found[i], 224)[:1] for i in spread(FRAMES, min(len(u), len(v))) for found in (u, v)]
        return np.concatenate(pairs)

    @classmethod
    def write_double(cls, root: Path) -> Path:
        lists = root / "ucfTrainTestlist"
        lists.mkdir(parents=True, exist_ok=True)
        names = ("Archery", "HandstandPushups", "Typing")
        (lists / "classInd.txt").write_text("".join(f"{k} {n}\r\n" for k, n in enumerate(names, 1)))
        train, test = [""], [""]
        for k, name in enumerate(names):
            for group in range(1, 7):
                clip = f"v_{name}_g{group:02d}_c01"
                for folder in (root / "jpegs_256", root / "tvl1_flow" / "u", root / "tvl1_flow" / "v"):
                    for i in (1, 2):
                        write_picture(folder / clip / f"frame{i:06d}.jpg", 100 * k + 10 * group + i, tint=60 * k)
                row = f"{name}/{clip}.avi".replace("HandstandPushups", "HandStandPushups")
                (train if group > 2 else test).append(f"{row} {k + 1}" if group > 2 else row)
        for split in "123":
            (lists / f"trainlist0{split}.txt").write_text("\r\n".join(train[1:]) + "\r\n")
            (lists / f"testlist0{split}.txt").write_text("\r\n".join(test[1:]) + "\r\n")
        return mark_double(
            root, samples=18, classes=3, **{f"{k}_{p}": n for k in "123" for p, n in (("train", 12), ("test", 6))}
        )


def spellings(name: str) -> tuple[str, str]:
    """The name as extracted frames have it, and as clips and lists have it: of one class they differ in a letter.

    >>> spellings("v_HandStandPushups_g01_c01")
    ('v_HandstandPushups_g01_c01', 'v_HandStandPushups_g01_c01')
    """
    return name.replace("HandStandPushups", "HandstandPushups"), name.replace("HandstandPushups", "HandStandPushups")
