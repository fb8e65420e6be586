"""Files as downloads leave them: missing, Git-LFS stubs, empty, truncated; each told in one sentence with its name."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import wave
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np

from mmtheory.errors import DataError

STUB = b"version https://git-lfs"
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xae\x42\x60\x82"}
LARGE = 64 << 20
"""Bytes beyond which a file is told from another by its size alone."""
TAIL = 64
"""How far from its end a picture's closing mark may stand: some cameras pad."""


def present(path: Path, *, empty: bool = False) -> Path:
    """The file itself, if it is there, is no stub and is not empty.

    :param empty: whether it may be.
    :raises DataError: which of these it is not.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(STUB))
    except OSError as error:
        raise DataError(f"{path}: expected a file, found: {error.strerror or error}") from error
    if head == STUB:
        raise DataError(f"{path}: expected the file itself, found a Git-LFS stub; run `git lfs pull` in its repository")
    if not size and not empty:
        raise DataError(f"{path}: expected content, found an empty file")
    return path


@contextmanager
def reading(path: Path, what: str, *, empty: bool = False) -> Generator[None, None, None]:
    """Whatever goes wrong inside, while a present file is read, becomes one sentence with its name.

    :param what: the kind of file that was expected.
    :raises DataError: missing, a stub, empty, or what the reader complains of; what readers raise on damaged files has no common type.

    >>> with reading(Path("/dev/null"), "a wav file", empty=True):
    ...     raise EOFError
    Traceback (most recent call last):
    mmtheory.errors.DataError: /dev/null: expected a wav file, found: EOFError
    """
    present(path, empty=empty)
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        told = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: expected {what}, found: {told}") from error


def sound(path: Path) -> Path:
    """The file itself, if it is present and (pictures, wav) not cut short.

    :raises DataError: which of these it is not.
    """
    present(path)
    end = ENDS.get(path.suffix.lower())
    if end is not None:
        with reading(path, "a whole picture"), path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            if end not in file.read():
                raise DataError(f"{path}: expected a whole picture, found one without its end, truncated")
    if path.suffix.lower() == ".wav":
        samples(path)
    return path


def samples(path: Path) -> tuple[np.ndarray, int]:
    """Samples of a 16-bit wav in [−1, 1), channels averaged, and its rate.

    :raises DataError: no wav, another sample width, no samples, fewer than its header says.
    """
    with reading(path, "a wav file"), wave.open(str(path)) as file:
        channels, width, rate, count, *_ = file.getparams()
        raw = file.readframes(count)
    if width != 2:
        raise DataError(f"{path}: expected 16-bit samples, found {8 * width}-bit ones")
    if not count:
        raise DataError(f"{path}: expected sound, found a wav file of zero length")
    if len(raw) != count * channels * width:
        raise DataError(f"{path}: expected {count} samples, found {len(raw) // (channels * width)}, truncated")
    return np.frombuffer(raw, dtype="<i2").reshape(-1, channels).mean(1) / 32768.0, rate


def stamp(path: Path, *, content: bool = False) -> str:
    """What tells a file from another version of itself: its name and size; of a folder, how much is in it.

    :param content: look at what is in it too, where it is not too large.
    """
    if not path.exists():
        return f"{path.name} gone"
    if path.is_dir():
        return f"{path.name} {sum(1 for _ in path.iterdir())}"
    size = path.stat().st_size
    if not content or size > LARGE:
        return f"{path.name} {size}"
    return f"{path.name} {size} {hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()}"


def installed(requirement: str, folder: str) -> Path | None:
    """A folder inside an installed package, which is not imported; None if the package or the folder is not there.

    >>> installed("multiviewstacking==0.7.5", "multiviewstacking/data").name
    'data'
    """
    try:
        held = Path(str(distribution(requirement.partition("==")[0]).locate_file(folder)))
    except PackageNotFoundError:
        return None
    return held if held.is_dir() else None


def write_wav(path: Path, values: np.ndarray, rate: int) -> Path:
    """A mono 16-bit wav of values in [−1, 1)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(values, -1, 0.9999) * 32768).astype("<i2").tobytes())
    return path


def text(path: Path, *, errors: str = "strict") -> str:
    """The text of a UTF-8 file, without a byte-order mark.

    :raises DataError: it cannot be read, is a stub or is not UTF-8.
    """
    with reading(path, "a file", empty=True):
        content = path.read_bytes()
    try:
        return content.decode("utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: expected UTF-8 text, found byte {content[error.start]:#04x}") from error


def json_of(path: Path) -> Any:  # noqa: ANN401 (whatever the file holds)
    """What a JSON file holds.

    :raises DataError: it cannot be read, or is no JSON.
    """
    content = text(path)
    with reading(path, "JSON"):
        return json.loads(content)


def arrays(path: Path, *names: str) -> dict[str, np.ndarray]:
    """These arrays of an npz file, in this order.

    :raises DataError: missing, damaged, or without one of them.
    """
    with reading(path, f"an npz file with {', '.join(names)}"), path.open("rb") as file:
        held = np.load(file, allow_pickle=False)
        return {name: np.asarray(held[name]) for name in names}


def rows(
    path: Path, *, delimiter: str = ",", quoted: bool = True, errors: str = "strict"
) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not empty.

    :raises DataError: it cannot be read, has no such line, or one that cannot be cut into fields.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text(present(path), errors=errors)), delimiter=delimiter, quoting=quoting)
    some = False
    try:
        for fields in reader:
            if fields:
                some = True
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected fields between {delimiter!r}, found: {error}"
        ) from error
    if not some:
        raise DataError(f"{path}: expected lines of fields, found blank ones alone")


def fields_of(path: Path, line: int, fields: list[str], count: int) -> list[str]:
    """The fields, if there are that many.

    :raises DataError: naming file and line.
    """
    if len(fields) != count:
        raise DataError(f"{path}, line {line}: expected {count} fields, found {len(fields)}")
    return fields


def numbers_of(path: Path, line: int, fields: Iterable[str]) -> list[float]:
    """The fields as finite numbers.

    :raises DataError: naming file and line.
    """
    try:
        found = [float(field) for field in fields]
    except ValueError as error:
        raise DataError(f"{path}, line {line}: expected numbers, found: {error}") from error
    if strange := [value for value in found if not math.isfinite(value)]:
        raise DataError(f"{path}, line {line}: expected finite numbers, found {strange[0]}")
    return found


def label_of(path: Path, line: int, label: str, classes: tuple[str, ...]) -> int:
    """The number of a class by its name.

    :raises DataError: a label outside the map, naming file and line.
    """
    if label not in classes:
        shown = ", ".join(classes[:12]) + (" …" if len(classes) > 12 else "")
        raise DataError(f"{path}, line {line}: expected a class among {shown}, found {label!r}")
    return classes.index(label)
