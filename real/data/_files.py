"""Files as downloads leave them: missing, Git-LFS stubs, empty, truncated; each told in one sentence with its name."""

from __future__ import annotations

import csv
import io
import wave
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np

from mmtheory.errors import DataError

STUB = b"version https://git-lfs"
ENDS = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".png": b"IEND\xae\x42\x60\x82"}
TAIL = 64
"""How far from its end a picture's closing mark may stand: some cameras pad."""


def sound(path: Path) -> Path:
    """The file itself, if it is there, is no stub, is not empty and (pictures, wav) not cut short.

    :raises DataError: which of these it is not.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(len(STUB))
            file.seek(max(0, size - TAIL))
            tail = file.read()
    except OSError as error:
        raise DataError(f"{path}: expected a file, found: {error.strerror or error}") from error
    if head == STUB:
        raise _stubbed(path)
    if not size:
        raise DataError(f"{path}: expected content, found an empty file")
    end = ENDS.get(path.suffix.lower())
    if end is not None and end not in tail:
        raise DataError(f"{path}: expected a whole picture, found one without its end, truncated")
    if path.suffix.lower() == ".wav":
        samples(path)
    return path


def _stubbed(path: Path) -> DataError:
    return DataError(f"{path}: expected the file itself, found a Git-LFS stub; run `git lfs pull` in its repository")


def samples(path: Path) -> tuple[np.ndarray, int]:
    """Samples of a 16-bit wav in [−1, 1), channels averaged, and its rate.

    :raises DataError: no wav, another sample width, no samples, fewer than its header says.
    """
    try:
        with wave.open(str(path)) as file:
            channels, width, rate, count = (
                file.getnchannels(),
                file.getsampwidth(),
                file.getframerate(),
                file.getnframes(),
            )
            raw = file.readframes(count)
    except (OSError, EOFError, wave.Error) as error:
        if isinstance(error, OSError) and not path.exists():
            raise DataError(f"{path}: expected a file, found none") from error
        if path.read_bytes()[: len(STUB)] == STUB:
            raise _stubbed(path) from error
        raise DataError(f"{path}: expected a wav file, found: {error or 'an early end'}") from error
    if width != 2:
        raise DataError(f"{path}: expected 16-bit samples, found {8 * width}-bit ones")
    if not count:
        raise DataError(f"{path}: expected sound, found a wav file of zero length")
    if len(raw) != count * channels * width:
        raise DataError(f"{path}: expected {count} samples, found {len(raw) // (channels * width)}, truncated")
    return np.frombuffer(raw, dtype="<i2").reshape(-1, channels).mean(1) / 32768.0, rate


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: expected a file, found: {error.strerror or error}") from error
    if content.startswith(STUB):
        raise DataError(f"{path}: expected the file itself, found a Git-LFS stub; run `git lfs pull` in its repository")
    try:
        return content.decode("utf-8-sig", errors=errors)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}, line {line}: expected UTF-8 text, found byte {content[error.start]:#04x}") from error


def rows(
    path: Path, *, delimiter: str = ",", quoted: bool = True, errors: str = "strict"
) -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of every line that is not empty.

    :raises DataError: it cannot be read, or a line cannot be cut into fields.
    """
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader = csv.reader(io.StringIO(text(path, errors=errors)), delimiter=delimiter, quoting=quoting)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num}: expected fields between {delimiter!r}, found: {error}"
        ) from error


def fields_of(path: Path, line: int, fields: list[str], count: int) -> list[str]:
    """The fields, if there are that many.

    :raises DataError: naming file and line.
    """
    if len(fields) != count:
        raise DataError(f"{path}, line {line}: expected {count} fields, found {len(fields)}")
    return fields


def label_of(path: Path, line: int, label: str, classes: tuple[str, ...]) -> int:
    """The number of a class by its name.

    :raises DataError: a label outside the map, naming file and line.
    """
    if label not in classes:
        shown = ", ".join(classes[:12]) + (" …" if len(classes) > 12 else "")
        raise DataError(f"{path}, line {line}: expected a class among {shown}, found {label!r}")
    return classes.index(label)
