"""Data sets of a picture and the words that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from ._dataset import Part
from ._files import text
from ._media import picture, rgba
from ._samples import Sample, SampleDataset
from ._words import WIDTH, hashed


class Illustrated(SampleDataset):
    """A text as hashed words, and a photograph."""

    modalities: ClassVar[Mapping[str, Part]] = MappingProxyType({
        "text": Part((WIDTH,)),
        "image": Part((3, 224, 224), "image", "uint8"),
    })  # fmt: skip

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        held = sample.files[modality]
        if modality == "image":
            channels, edge, _ = self.modalities["image"].shape
            return (rgba if channels == 4 else picture)(Path(held), edge)
        return hashed(text(held, errors="replace") if isinstance(held, Path) else held)


class Drawings(Illustrated):
    """A text as hashed words, and a drawing with its transparency."""

    modalities: ClassVar[Mapping[str, Part]] = MappingProxyType({
        "image": Part((4, 64, 64), "image", "uint8"),
        "text": Part((WIDTH,)),
    })  # fmt: skip
