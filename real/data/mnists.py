"""Digits with a partner: AV-MNIST (a spoken digit) and CG-MNIST (the same digit in a colour that lies)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._files import present, reading
from ._splits import TEST, TRAIN, VALIDATION, stratified
from ._tables import Table, TableDataset

VALIDATIONS = 5000
COLOURS = np.array([
    [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255], [0, 255, 255], [255, 128, 0], [128, 0, 255], [0, 128, 128], [160, 160, 160],
])  # fmt: skip


@final
class AvMnist(TableDataset):
    """Energy-reduced digits and spectrograms of spoken ones; the last 5,000 of the training files are validation."""

    name: ClassVar[str] = "av-mnist"
    title: ClassVar[str] = "AV-MNIST: reduced digits and noisy spoken digits"
    licence: ClassVar[str] = "MNIST CC BY-SA 3.0; the speech (TIDIGITS) is licensed by the LDC"
    source: ClassVar[str] = "slyviacassell/MFAS or MultiBench, avmnist/"
    layout: ClassVar[tuple[str, ...]] = ("[avmnist/]{image,audio}/{train,test}_data.npy", "{train,test}_labels.npy")
    classes: tuple[str, ...] = tuple("0123456789")
    modalities: Mapping[str, Part] = MappingProxyType({
        "image": Part((1, 28, 28), "image", "float16"), "audio": Part((1, 112, 112), "spectrogram", "float16"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official", "random")
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({
        "samples": 70000, "official train": 55000, "official validation": 5000, "official test": 10000,
    })  # fmt: skip

    def open_table(self) -> Table:
        folder = self.root / "avmnist" if (self.root / "avmnist").is_dir() else self.root
        y = [_array(folder / f"{part}_labels.npy").astype(np.int64).ravel() for part in ("train", "test")]
        for part, labels in zip(("train", "test"), y, strict=True):
            if not ((labels >= 0) & (labels <= 9)).all():
                bad = int(((labels < 0) | (labels > 9)).argmax())
                raise DataError(f"{folder / part}_labels.npy: expected labels 0 to 9, found {labels[bad]} in row {bad}")
        held = {
            m: tuple(
                _array(folder / m / f"{part}_data.npy", len(labels))
                for part, labels in zip(("train", "test"), y, strict=True)
            )
            for m in self.modalities
        }
        self._held = held
        n, tests = len(y[0]), len(y[1])
        codes = torch.tensor([TRAIN] * n + [TEST] * tests)
        codes[n - min(VALIDATIONS, n // 4) : n] = VALIDATION
        names = (*(f"train {i}" for i in range(n)), *(f"test {i}" for i in range(tests)))
        files = {m: folder / m for m in self.modalities}
        return Table({}, Index(names, torch.from_numpy(np.concatenate(y)), {}, {"official": codes}), files)

    def files(self) -> Iterator[Path]:
        return (folder / f"{part}_data.npy" for folder in super().files() for part in ("train", "test"))

    def read(self, rows: range) -> dict[str, np.ndarray]:
        _ = self.table
        found: dict[str, np.ndarray] = {}
        for m, (train, test) in self._held.items():
            n = len(train)
            parts = (train[rows.start : rows.stop], test[max(0, rows.start - n) : max(0, rows.stop - n)])
            found[m] = (np.concatenate(parts) / 255).reshape(len(rows), *self.modalities[m].shape)
        return found

    @classmethod
    def write_double(cls, root: Path) -> Path:
        draws = Stream(0, ("av-mnist double",)).numpy()
        for part, n in (("train", 40), ("test", 20)):
            y = np.arange(n) % 10
            for m, width in (("image", 784), ("audio", 112 * 112)):
                (root / m).mkdir(parents=True, exist_ok=True)
                values = 20 * y[:, None] + draws.integers(0, 60, (n, width))
                np.save(
                    root / m / f"{part}_data.npy",
                    values.astype(np.float32).reshape((n, 112, 112) if m == "audio" else (n, 784)),
                )
            np.save(root / f"{part}_labels.npy", y)
        return mark_double(root, samples=60, official_train=30, official_validation=10, official_test=20)


@final
class CgMnist(TableDataset):
    """Generated: a grey digit and the same digit in colour. In training the colour is the class's own; elsewhere it is any.

    A model that follows the colour is perfect in training and lost in validation and test. Digits are scikit-learn's, enlarged three
    times, or MNIST's where ``root`` has its four idx files.
    """

    name: ClassVar[str] = "cg-mnist"
    title: ClassVar[str] = "CG-MNIST: grey digits, and coloured ones whose colour lies outside training"
    licence: ClassVar[str] = "scikit-learn's digits CC BY 4.0 (UCI); MNIST CC BY-SA 3.0"
    source: ClassVar[str] = (
        "generated from scikit-learn's digits, or from MNIST's idx files (Kim et al. 2019's construction, as PMR uses it)"
    )
    layout: ClassVar[tuple[str, ...]] = (
        "nothing, or {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte",
    )
    classes: tuple[str, ...] = tuple("0123456789")
    modalities: Mapping[str, Part] = MappingProxyType({
        "gray": Part((1, 28, 28), "image", "uint8"), "colour": Part((3, 28, 28), "image", "uint8"),
    })  # fmt: skip
    splits: ClassVar[tuple[str, ...]] = ("official",)
    needs_root: ClassVar[bool] = False

    def open_table(self) -> Table:
        pixels, y, codes = self._digits()
        generator = Stream(0, ("cg-mnist", "colours")).numpy()
        hue = np.where(codes == TRAIN, y, generator.integers(10, size=len(y)))
        shade = np.clip(COLOURS[hue] + generator.normal(0, 15, (len(y), 3)), 0, 255)
        colour = (pixels[:, None] / 255 * shade[:, :, None, None]).astype(np.uint8)
        names = tuple(f"digit {i}" for i in range(len(y)))
        index = Index(names, torch.from_numpy(y), {}, {"official": torch.from_numpy(codes)})
        return Table({"gray": pixels[:, None], "colour": colour}, index)

    def _digits(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels uint8 [n, 28, 28], labels, codes."""
        if self._root is not None and not self.double:
            parts = [
                (_idx(self.root / f"{p}-images-idx3-ubyte", 3), _idx(self.root / f"{p}-labels-idx1-ubyte", 1))
                for p in ("train", "t10k")
            ]
            for p, (shown, labels) in zip(("train", "t10k"), parts, strict=True):
                place = self.root / f"{p}-labels-idx1-ubyte"
                if len(shown) != len(labels) or shown.shape[1:] != (28, 28):
                    raise DataError(
                        f"{place}: expected a label a picture [28, 28], found {len(labels)} for {shown.shape}"
                    )
                if labels.max(initial=0) > 9:
                    raise DataError(f"{place}: expected labels 0 to 9, found {labels.max()}")
            pixels, y = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
            n = len(parts[0][1])
            codes = np.array([TRAIN] * (n - VALIDATIONS) + [VALIDATION] * VALIDATIONS + [TEST] * (len(y) - n))
            return pixels, y.astype(np.int64), codes
        try:
            from sklearn.datasets import load_digits
        except ImportError as error:
            raise DataError(
                "cg-mnist: expected scikit-learn, which ships digits, found none; pip install scikit-learn"
            ) from error
        small, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
        count = 60 if self.double else len(labels)
        large = np.repeat(np.repeat(small[:count].reshape(-1, 8, 8) * 15, 3, 1), 3, 2).astype(np.uint8)
        y = labels[:count].astype(np.int64)
        codes = stratified(torch.from_numpy(y), seed=0).numpy()
        return np.pad(large, ((0, 0), (2, 2), (2, 2))), y, codes

    @classmethod
    def write_double(cls, root: Path) -> Path:
        return mark_double(root, samples=60)


def _array(path: Path, rows: int | None = None) -> np.ndarray:
    """An npy file, memory-mapped.

    :raises DataError: missing, damaged, or of another number of rows.
    """
    with reading(path, "an npy file"):
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows is not None and len(found) != rows:
        raise DataError(f"{path}: expected {rows} rows, one a label, found {len(found)}")
    return found


def _idx(path: Path, axes: int) -> np.ndarray:
    """An idx file of bytes.

    :raises DataError: missing or damaged.
    """
    raw = present(path).read_bytes()
    whole = raw[:4] == bytes((0, 0, 8, axes)) and len(raw) > 4 + 4 * axes
    shape = tuple(np.frombuffer(raw[4 : 4 + 4 * axes], ">i4").tolist()) if whole else ()
    if not whole or len(raw) != 4 + 4 * axes + math.prod(shape):
        raise DataError(f"{path}: expected an idx file of bytes with {axes} axes, found another or a truncated one")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
