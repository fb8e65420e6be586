"""Emoji: a picture of 64 × 64 pixels and its Unicode name, against the group it is listed in.

Read as the npm package emoji-datasource-twitter carries them. Names differ in a word where pictures differ in a hat: variants of one
figure (man, woman, person; the directions of an arrow are different figures) have one stem, and the split ``stem`` keeps them together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

from mmtheory.errors import DataError

from ._dataset import mark_double
from ._files import json_of, label_of
from ._illustrated import Drawings
from ._media import write_picture
from ._samples import Sample

VARIANT = re.compile(
    r"\b(wo)?(man|men)s?\b|\b(fe)?male\b|\b(person|people|adult|boy|girl|child|mr|mrs|mx|mother|father)\b|\b(light|medium|dark)\b"
)
"""What does not belong to a stem."""


@final
class Emoji(Drawings):
    """Pictures with their transparency, names as hashed words."""

    name: ClassVar[str] = "emoji"
    title: ClassVar[str] = "Emoji: Twitter's pictures and Unicode names against their group"
    licence: ClassVar[str] = "pictures CC BY 4.0 (Twemoji), the rest MIT"
    source: ClassVar[str] = (
        "npm package emoji-datasource-twitter 16.0.0 (npm pack, unpacked; or a folder with node_modules)"
    )
    layout: ClassVar[tuple[str, ...]] = ("emoji.json", "img/twitter/64/*.png")
    classes: tuple[str, ...] = (
        "Smileys & Emotion", "People & Body", "Animals & Nature", "Food & Drink", "Travel & Places", "Activities", "Objects", "Symbols",
        "Flags",
    )  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("stem", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 1906})

    @property
    def folder(self) -> Path:
        """Where emoji.json lies: the root itself, or the package below it."""
        inside = ("", "package", "node_modules/emoji-datasource-twitter", "emoji-datasource-twitter")
        found = (self.root / f for f in inside if (self.root / f / "emoji.json").exists())
        return self.need(next(found, None), f"emoji.json in {self.root}")

    def list_samples(self) -> list[Sample]:
        path, samples = self.folder / "emoji.json", list[Sample]()
        try:
            listed: list[dict[str, Any]] = json_of(path)
            kept = [e for e in listed if e["has_img_twitter"] and e["category"] != "Component"]
            told = [(e["unified"], e["category"], e["name"] or e["short_name"], e["image"]) for e in kept]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: expected a list of emoji with unified, name, category, image, found: {error!r}"
            ) from error
        for number, (code, category, name, image) in enumerate(told, 1):
            spoken = name.lower().replace("-", " ").replace("_", " ")
            label = label_of(path, number, category, self.classes)
            files: dict[str, Path | str] = {"image": self.folder / "img" / "twitter" / "64" / image, "text": spoken}
            samples.append(Sample(code, label, files, groups={"stem": stem(spoken)}))
        return samples

    @classmethod
    def write_double(cls, root: Path) -> Path:
        listed: list[dict[str, Any]] = []
        for i in range(54):
            k = i % 9
            name = f"{'WOMAN' if i % 2 else 'MAN'} {cls.classes[k].upper()} NUMBER {i // 18} {k}"
            listed.append({"unified": f"1F{i:02X}", "name": name, "short_name": name, "category": cls.classes[k], "image": f"1f{i:02x}.png", "has_img_twitter": True})  # fmt: skip
            write_picture(root / "img" / "twitter" / "64" / f"1f{i:02x}.png", i, tint=25 * k)
        (root / "emoji.json").write_text(json.dumps(listed))
        return mark_double(root, samples=54, classes=9)


def stem(name: str) -> str:
    """The name without the words that tell variants of one figure apart; all of it if nothing else is in it.

    >>> stem("woman facepalming"), stem("man facepalming"), stem("woman")
    ('facepalming', 'facepalming', 'woman')
    """
    return " ".join(VARIANT.sub(" ", name).split()) or name
