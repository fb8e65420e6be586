"""MATLAB files of arrays, read without executing anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmtheory.errors import DataError

from ._files import reading


def matrices(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These variables of a MATLAB 5 file.

    :raises DataError: the file is missing, a stub or damaged, or lacks a variable.
    """
    from scipy.io import loadmat

    with reading(path, "a MATLAB file"):
        held = loadmat(path)
    if missing := [name for name in names if name not in held]:
        shown = sorted(k for k in held if not k.startswith("__"))
        raise DataError(f"{path}: expected variables {', '.join(names)}, found {shown}, no {missing[0]}")
    return {name: held[name] for name in names}


def write_matrices(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """A MATLAB 5 file, for doubles."""
    from scipy.io import savemat

    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays)
    return path
