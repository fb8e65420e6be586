"""Data sets of a picture and the words that go with it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np

from ._dataset import Part
from ._media import picture, rgba
from ._samples import Sample, SampleDataset, words
from ._words import WIDTH, hashed


class Illustrated(SampleDataset):
    """A text as hashed words, and a photograph."""

    modalities: Mapping[str, Part] = MappingProxyType({
        "text": Part((WIDTH,)),
        "image": Part((3, 224, 224), "image", "uint8"),
    })  # fmt: skip

    spoken: ClassVar[tuple[str, ...]] = ("text",)

    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        if modality == "text":
            return hashed(words(sample, modality))
        channels, edge, _ = self.modalities["image"].shape
        return (rgba if channels == 4 else picture)(self.path(sample, "image"), edge)


class Drawings(Illustrated):
    """A text as hashed words, and a drawing with its transparency."""

    modalities: Mapping[str, Part] = MappingProxyType({
        "image": Part((4, 64, 64), "image", "uint8"),
        "text": Part((WIDTH,)),
    })  # fmt: skip
