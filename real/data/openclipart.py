"""OpenClipart: a drawing and its title, against the folder it is kept in, as Debian's packages openclipart-png and -svg lay them out.

Half of the titles stand there more than once, for variants of one drawing, which a random split would spread over training and test: of
all drawings with one title (numbers and case apart) the first is kept. The title is the one in the SVG's own description; its keywords
hold the folder's name too often to be an input. Folders that are no subject (unsorted, special) are left out,
and those with fewer than forty drawings.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

from ._dataset import mark_double
from ._files import reading
from ._illustrated import Drawings
from ._media import write_picture
from ._samples import Sample

HEAD = 1 << 15
"""Bytes of an SVG in which its title is looked for."""
TITLE = re.compile(r"<dc:title>\s*([^<]+?)\s*</dc:title>")


@final
class OpenClipart(Drawings):
    """Drawings with their transparency, titles as hashed words."""

    name: ClassVar[str] = "openclipart"
    title: ClassVar[str] = "OpenClipart: drawings and their titles against their subject"
    licence: ClassVar[str] = "public domain"
    source: ClassVar[str] = (
        "Debian packages openclipart-png and openclipart-svg 0.18: usr/share/openclipart of both, one folder"
    )
    layout: ClassVar[tuple[str, ...]] = ("png/<subject>/**/<drawing>.png", "svg/<subject>/**/<drawing>.svg")
    classes: tuple[str, ...] = (
        "animals", "buildings", "computer", "food", "geography", "office", "people", "plants", "recreation", "shapes", "signs_and_symbols",
        "tools", "transportation",
    )  # fmt: skip

    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 2283})

    def list_samples(self) -> list[Sample]:
        found: list[Sample] = []
        seen: set[str] = set()
        for k, subject in enumerate(self.classes):
            for drawing in sorted((self.root / "svg" / subject).rglob("*.svg")):
                place = drawing.relative_to(self.root / "svg").with_suffix(".png")
                said = titled(drawing)
                key = " ".join(re.findall(r"[^\W\d_]+", said.lower()))
                if key and key not in seen and (self.root / "png" / place).exists():
                    seen.add(key)
                    found.append(Sample(str(place), k, {"image": self.root / "png" / place, "text": said}))
        return found

    @classmethod
    def write_double(cls, root: Path) -> Path:
        for i in range(52):
            k = i % 13
            subject, name = cls.classes[k], f"drawing-{k}-{'abcd'[i // 13]}"
            for variant in ("", "_02") if i == 7 else ("",):
                write_picture(root / "png" / subject / f"{name}{variant}.png", i, tint=9 * k)
                drawing = root / "svg" / subject / f"{name}{variant}.svg"
                drawing.parent.mkdir(parents=True, exist_ok=True)
                words = f"{subject} {'abcd'[i // 13]}{variant}"
                drawing.write_text(f"<svg><metadata><dc:title>{words}</dc:title></metadata></svg>")
        return mark_double(root, samples=52)


def titled(drawing: Path) -> str:
    """The title in an SVG's description; "" for none.

    :raises DataError: it cannot be read.
    """
    with reading(drawing, "a drawing"), drawing.open("rb") as file:
        head = file.read(HEAD)
    match = TITLE.search(head.decode("utf-8", errors="replace"))
    return html.unescape(match[1]) if match else ""
