"""MATLAB files of arrays, read without executing anything."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmtheory.errors import DataError

from ._files import STUB


def matrices(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These variables of a MATLAB 5 file.

    :raises DataError: the file is missing, a stub or damaged, or lacks a variable.
    """
    from scipy.io import loadmat

    try:
        if path.read_bytes()[: len(STUB)] == STUB:
            raise DataError(f"{path}: expected the file itself, found a Git-LFS stub; run `git lfs pull`")
        held = loadmat(path)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: expected a file, found: {error.strerror or error}") from error
    except Exception as error:
        # What the reader raises on damaged files has no common type: zlib's, struct's, its own.
        raise DataError(f"{path}: expected a MATLAB file, found: {type(error).__name__}, {error}") from error
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
