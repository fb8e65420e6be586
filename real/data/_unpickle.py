"""Pickled sources, read without letting them execute anything: numbers, texts, lists, mappings and numpy arrays, nothing else."""

from __future__ import annotations

import _codecs
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from pickle import Unpickler as _Unpickler
from pickle import UnpicklingError, dumps
from typing import Any, final

import numpy as np

from mmtheory.errors import DataError

from ._files import reading


def _allowed() -> dict[tuple[str, str], Any]:
    """Module and name as pickles of any numpy and Python write them → the object."""
    array = np.zeros(1).__reduce__()[0]
    scalar = np.float64(0).__reduce__()[0]
    known: dict[tuple[str, str], Any] = {
        ("_codecs", "encode"): _codecs.encode,
        ("collections", "OrderedDict"): OrderedDict,
    }
    for room in ("numpy.core.multiarray", "numpy._core.multiarray"):
        known |= {(room, "_reconstruct"): array, (room, "scalar"): scalar}
    known |= {("numpy", "ndarray"): np.ndarray, ("numpy", "dtype"): np.dtype}
    for kind in (set, frozenset, bytearray, complex, slice, list, dict, tuple):
        known |= {("builtins", kind.__name__): kind, ("__builtin__", kind.__name__): kind}
    return known


@final
class Unpickler(_Unpickler):
    """Refuses every name that is not on the list."""

    known = _allowed()

    def find_class(self, module_name: str, global_name: str, /) -> Any:  # noqa: ANN401
        """The object, if it is harmless."""
        if (module_name, global_name) not in self.known:
            raise UnpicklingError(f"{module_name}.{global_name}, which is not data")
        return self.known[module_name, global_name]


def unpickled(path: Path, *, encoding: str = "latin1") -> Any:  # noqa: ANN401 (whatever the file holds)
    """What a pickle file holds.

    :param encoding: of texts that Python 2 wrote.
    :raises DataError: missing, a stub, damaged, or holding anything but data; nothing of it was executed.
    """
    with reading(path, "a pickle of plain data"), path.open("rb") as file:
        return Unpickler(file, encoding=encoding).load()


def unpickled_array(path: Path) -> Any:  # noqa: ANN401 (whatever the file holds)
    """What a ``.npy`` file of one object holds, read as ``unpickled`` reads.

    :raises DataError: missing, a stub, no such file, or holding anything but data.
    """
    from numpy.lib import format as npy

    with reading(path, "a .npy file of plain data"):
        raw = BytesIO(path.read_bytes())
        npy.read_magic(raw)
        shape, _, kind = npy.read_array_header_1_0(raw)
        if shape != () or kind != np.dtype(object):
            raise DataError(f"{path}: expected one object, found an array of shape {shape}")
        return Unpickler(raw, encoding="latin1").load().item()


def write_pickle(path: Path, value: object) -> Path:
    """A pickle of plain data, for doubles alone."""
    raw = dumps(value, protocol=4)
    Unpickler(BytesIO(raw)).load()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path


def field_of(path: Path, held: Any, *keys: str) -> Any:  # noqa: ANN401
    """What lies under these keys of nested mappings.

    :raises DataError: a key that is not there.
    """
    for depth, key in enumerate(keys):
        if not isinstance(held, dict) or key not in held:
            there = sorted(map(str, held))[:12] if isinstance(held, dict) else type(held).__name__
            raise DataError(f"{path}: expected {'/'.join(keys[: depth + 1])}, found {there}")
        held = held[key]
    return held
