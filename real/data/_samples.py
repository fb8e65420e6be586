"""Data sets whose samples are files: a list of samples with their places, decoded one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mmtheory.errors import DataError

from ._dataset import Dataset, Index
from ._files import stamp, text
from ._media import extracted
from ._splits import UNUSED


@dataclass(frozen=True)
class Sample:
    """One sample: its id, class, what it is decoded from, the part it has in published splits, the groups it belongs to.

    :param files: modality → file, or folder of frames; a text stands for itself.
    :param place: the file and line that tell of it; "" where it is found by its own name.
    """

    name: str
    label: int
    files: Mapping[str, Path | str]
    parts: Mapping[str, int] = field(default_factory=dict[str, int])
    groups: Mapping[str, str] = field(default_factory=dict[str, str])
    place: str = ""


class SampleDataset(Dataset):
    """A data set of files."""

    spoken: ClassVar[tuple[str, ...]] = ()
    """Modalities that are words, hashed."""

    @abstractmethod
    def list_samples(self) -> list[Sample]:
        """Every sample, in a fixed order; annotations are read, contents are not.

        :raises DataError: naming file and line.
        """

    @abstractmethod
    def decode(self, modality: str, sample: Sample) -> np.ndarray:
        """One modality of one sample."""

    @cached_property
    def samples(self) -> list[Sample]:
        """What ``list_samples`` found.

        :raises DataError: nothing.
        """
        found = self.list_samples()
        if not found:
            raise DataError(f"{self.root}: expected samples of {self.name} ({', '.join(self.layout)}), found none")
        return found

    def said(self, modality: str) -> list[str] | None:
        return [words(s, modality) for s in self.samples] if modality in self.spoken else None

    def read_index(self) -> Index:
        every = self.samples
        splits = {name: None for sample in every for name in sample.parts}
        groups = {name: None for sample in every for name in sample.groups}
        return Index(
            tuple(s.name for s in every),
            torch.tensor([s.label for s in every]),
            {g: tuple(s.groups[g] for s in every) for g in groups},
            {p: torch.tensor([s.parts.get(p, UNUSED) for s in every]) for p in splits},
        )

    def read(self, rows: range) -> dict[str, np.ndarray]:
        return {m: np.stack([self.decode(m, self.samples[r]) for r in rows]) for m in self.modalities}

    def origin(self, row: int, modality: str = "") -> str:
        sample = self.samples[row]
        held = sample.files.get(modality)
        return str(held) if isinstance(held, Path) else sample.place or super().origin(row)

    def files(self) -> Iterator[Path]:
        for sample in self.samples:
            for source in sample.files.values():
                if isinstance(source, Path):
                    yield from extracted(source) if source.is_dir() else (source,)

    def sources(self) -> Iterator[str]:
        for sample in self.samples:
            # By size alone: the contents of so many files are looked at by ``check``, not whenever training begins.
            yield from (stamp(source) if isinstance(source, Path) else source for source in sample.files.values())

    def path(self, sample: Sample, modality: str) -> Path:
        """The file or folder of a modality."""
        return Path(sample.files[modality])

    def need(self, found: Path | None, what: str) -> Path:
        """The path, if there is one.

        :raises DataError: there is none; ``what`` says where it was looked for.
        """
        if found is None:
            raise DataError(f"{self.name}: expected {what}, found none")
        return found


def words(sample: Sample, modality: str) -> str:
    """What a sample says, itself or in a file; bytes that are no UTF-8 are passed over."""
    held = sample.files[modality]
    return text(held, errors="replace") if isinstance(held, Path) else held
