"""The store: one JSON file a cell, written whole or not at all, by any number of writers at once."""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmtheory.errors import StoreError

from ._sweep import Cell, address

FORMAT = 1


def write_whole(path: Path, content: bytes) -> None:
    """Write beside the target, flush to the disk, then rename over it: a reader sees the old file or the new one, never a part.

    :raises StoreError: no permission, no space, no such folder.
    """
    part = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(f"{path}: expected a place that can be written, found: {error.strerror or error}") from error
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable, where the file system lets folders be flushed."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    :raises StoreError: it cannot be read or is not a whole JSON object; the file stays where it is.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise StoreError(f"{path}: expected a file that can be read, found: {error.strerror or error}") from error
    except ValueError as error:
        raise StoreError(
            f"{path}: expected a whole JSON object, found a truncated or damaged file ({error})"
        ) from error
    if not isinstance(content, dict):
        raise StoreError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


@dataclass(frozen=True)
class Record:
    """What the store holds about a cell: what was measured, and by what it was made."""

    cell: Cell
    measured: Mapping[str, Any]
    made_by: Mapping[str, Any]


@dataclass(frozen=True)
class Store:
    """A folder with one JSON file a cell, ``cells/<first two letters>/<id>.json``.

    ``put`` is atomic and safe with several writers, also on a shared disk: equal cells go to equal files, and the last whole one stays.
    A file that is truncated, edited or of another format is an error that names it; it is never used and never deleted.
    """

    folder: Path

    def path(self, cell: Cell) -> Path:
        """Where this cell's file is, or would be."""
        return self.folder / "cells" / cell.id[:2] / f"{cell.id}.json"

    def put(self, cell: Cell, measured: Mapping[str, Any], made_by: Mapping[str, Any]) -> None:
        """Keep what was measured.

        :raises ArgumentError: numbers that are not finite; say None for what is not known.
        :raises StoreError: the folder cannot be written.
        """
        body = {
            "format": FORMAT, "id": cell.id, "experiment": cell.experiment, "version": cell.version, "factors": dict(cell.factors),
            "measured": dict(measured), "made_by": dict(made_by),
        }  # fmt: skip
        text = json.dumps({**body, "digest": address(body)}, indent=1, allow_nan=False)
        write_whole(self.path(cell), text.encode())

    def __contains__(self, cell: Cell) -> bool:
        """Whether there is a file for this cell."""
        return self.path(cell).exists()

    def get(self, cell: Cell) -> Record:
        """The record of a cell.

        :raises StoreError: there is none, or its file is damaged or of another format.
        """
        return _record(self.path(cell))

    def missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those of ``cells`` (a Sweep, for one) that have no record yet; each record that is there is read and checked.

        :raises StoreError: a damaged record.
        """
        absent: list[Cell] = []
        for cell in cells:
            if cell in self:
                self.get(cell)
            else:
                absent.append(cell)
        return absent

    def records(self) -> Iterator[Record]:
        """Every record, by id."""
        for path in sorted((self.folder / "cells").glob("??/*.json")):
            yield _record(path)


def _record(path: Path) -> Record:
    """Read and check one cell's file."""
    body = read_json(path)
    digest = body.pop("digest", None)
    if body.get("format") != FORMAT:
        raise StoreError(f"{path}: expected a record of format {FORMAT}, found format {body.get('format')!r}")
    if digest != address(body) or body.get("id") != path.stem:
        raise StoreError(f"{path}: expected a record whose digest matches its content, found a damaged file")
    cell = Cell(body["experiment"], body["factors"], body["version"])
    if cell.id != path.stem:
        raise StoreError(f"{path}: expected the record of cell {path.stem}, found that of {cell.id}")
    return Record(cell, body["measured"], body["made_by"])
