"""VGGSound: 309 classes of sounds whose source is in the picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from mmtheory.errors import DataError

from ._dataset import mark_double
from ._files import fields_of, rows
from ._splits import TEST, TRAIN
from .clips import Clips, Listed, whole, write_clip


@final
class VggSound(Clips):
    """Class numbers are those of the sorted labels: by order of appearance they would depend on which clips are still on the web."""

    name: ClassVar[str] = "vggsound"
    title: ClassVar[str] = "VGGSound: sounds whose source is in the picture"
    licence: ClassVar[str] = "annotations CC BY 4.0; clips under YouTube's terms"
    source: ClassVar[str] = "robots.ox.ac.uk/~vgg/data/vggsound, vggsound.csv"
    layout: ClassVar[tuple[str, ...]] = ("vggsound.csv", "[video/]<id>_000030.mp4, or Image-01-FPS/ and Audio/")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"classes": 309})
    folders: ClassVar[tuple[str, ...]] = (".", "video", "videos")

    def __init__(self, root: Path | None = None) -> None:
        super().__init__(root)
        self.classes = tuple(sorted({label for _, (_, _, label, _) in self._rows()}))

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        path = self.root / "vggsound.csv"
        for line, fields in rows(path):
            yield line, fields_of(path, line, fields, 4)

    def listed(self) -> Iterator[Listed]:
        path, number = self.root / "vggsound.csv", {label: k for k, label in enumerate(self.classes)}
        for line, (video, start, label, split) in self._rows():
            if split not in {"train", "test"}:
                raise DataError(f"{path}, line {line}: expected train or test, found {split!r}")
            stem = f"{video}_{whole(path, line, start):06d}"
            # OGM-GE's extraction keeps the seconds as they stand in the file.
            part = TRAIN if split == "train" else TEST
            yield Listed(stem, (stem, f"{video}_{start}"), number[label], part, f"{path}, line {line}")

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        for k in range(5):
            for i in range(6):
                write_clip(root, f"v{k:02d}{i}_{30 * i:06d}", k)
                label = f'"sound {k:02d}, loud"' if k % 2 else f"sound {k:02d}"
                lines.append(f"v{k:02d}{i},{30 * i},{label},{'test' if i > 3 else 'train'}")
        (root / "vggsound.csv").write_text("\n".join([*lines, "gone,5,sound 00,train"]) + "\n")
        return mark_double(root, classes=5, samples=30, official_train=20, official_test=10)
