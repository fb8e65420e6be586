"""MIR-Flickr 25k: pictures and their tags.

The data set has 38 labels that may hold together; the library's loop classifies. It is read as the pictures with exactly one of the
fourteen relevant labels, which is a task of its own: published mean average precisions are not comparable.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, final

from mmtheory.errors import DataError

from ._dataset import mark_double
from ._files import present, text
from ._illustrated import Illustrated
from ._media import write_picture
from ._samples import Sample

PICTURES = 25000


@final
class MirFlickr(Illustrated):
    """A picture, and its tags as hashed words (many have none)."""

    name: ClassVar[str] = "mir-flickr"
    title: ClassVar[str] = "MIR-Flickr 25k: pictures and tags, those with one relevant label"
    licence: ClassVar[str] = "Creative Commons, a picture its own"
    source: ClassVar[str] = "press.liacs.nl/mirflickr, mirflickr25k.zip and mirflickr25k_annotations_v080.zip"
    layout: ClassVar[tuple[str, ...]] = (
        "mirflickr/im1.jpg",
        "mirflickr/meta/tags/tags1.txt",
        "mirflickr25k_annotations_v080/<label>_r1.txt",
    )
    classes: tuple[str, ...] = (
        "baby", "bird", "car", "clouds", "dog", "female", "flower", "male", "night", "people", "portrait", "river", "sea", "tree",
    )  # fmt: skip

    def list_samples(self) -> list[Sample]:
        labels: dict[int, list[int]] = {}
        for k, label in enumerate(self.classes):
            path = self.root / "mirflickr25k_annotations_v080" / f"{label}_r1.txt"
            for line, row in enumerate(text(present(path)).splitlines(), 1):
                if row.strip():
                    if not row.strip().isdigit() or not 1 <= int(row) <= PICTURES:
                        raise DataError(f"{path}, line {line}: expected a picture 1 to {PICTURES}, found {row!r}")
                    labels.setdefault(int(row), []).append(k)
        folder = self.root / "mirflickr"
        return [
            Sample(
                f"im{i}",
                own[0],
                {"image": folder / f"im{i}.jpg", "text": self._tags(folder / "meta" / "tags" / f"tags{i}.txt")},
            )
            for i, own in sorted(labels.items())
            if len(own) == 1
        ]

    @staticmethod
    def _tags(path: Path) -> str:
        return " ".join(text(path, errors="replace").split())

    @classmethod
    def write_double(cls, root: Path) -> Path:
        folder = root / "mirflickr25k_annotations_v080"
        folder.mkdir(parents=True, exist_ok=True)
        tags = root / "mirflickr" / "meta" / "tags"
        tags.mkdir(parents=True, exist_ok=True)
        for k, label in enumerate(cls.classes):
            own = [k + 1, k + 15, k + 29, k + 43]
            (folder / f"{label}_r1.txt").write_text("".join(f"{i}\n" for i in [99, *own] if i != 99 or k < 2))
            for i in [*own, 99]:
                write_picture(root / "mirflickr" / f"im{i}.jpg", i, tint=30 * k)
                (tags / f"tags{i}.txt").write_text(f"{label}\r\nphoto\r\n" if i % 5 else "")
        return mark_double(root, samples=56)
