"""Preparation: every sample decoded once into one memory-mapped array a modality, block by block, checked, resumable."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import DataError
from mmtheory.experiment import write_whole

from ._dataset import Dataset, Part
from ._files import reading

FORMAT = 2
JOURNAL = "journal.jsonl"
MANIFEST = "manifest.json"
BLOCK_BYTES = 16 << 20
"""Bytes of decoded samples between two entries of the journal: what a kill can cost."""

Told = Callable[[int, int], None]


def folder_of(data: Dataset) -> Path:
    """Where a data set's prepared arrays lie by default: inside its own root."""
    return data.root / "mmtheory-prepared" / data.name


@dataclass
class Preparation:
    """Decodes a data set into ``folder``: ``<modality>.npy``, a manifest, and while it runs a journal.

    A block is written, flushed to the disk, and then entered in the journal with its checksums; called again after a kill, it goes on
    behind the last entry.
    """

    data: Dataset
    folder: Path

    @property
    def question(self) -> dict[str, Any]:
        """What the arrays hold; another question's arrays are never continued."""
        described = {m: [list(p.shape), p.dtype] for m, p in self.data.modalities.items()}
        text = json.dumps([self.data.index.ids, self.data.index.y.tolist()])
        samples = _digest(text.encode())
        sources = _digest("\n".join(self.data.sources()).encode())
        return {
            "format": FORMAT,
            "dataset": self.data.name,
            "n": len(self.data.index),
            "modalities": described,
            "samples": samples,
            "sources": sources,
        }

    def run(self, told: Told = lambda _done, _all: None) -> Path:
        """Decode what is not decoded yet; returns the folder.

        :raises DataError: a source that cannot be decoded, a folder that answers another question, a disk without space; what was
            prepared before stays.
        """
        question = self.question
        if (self.folder / MANIFEST).exists():
            held = read_manifest(self.folder)
            self._same(self.folder, held["question"], question)
            told(question["n"], question["n"])
            return self.folder
        with self._alone():
            blocks = self._journal(question)
            self._room(sum(stop - start for start, stop, _ in blocks))
            self._decode(blocks, told)
            for m in self.data.modalities:
                os.replace(self._part(m), self.folder / f"{m}.npy")
            entries = [{"start": a, "stop": b, "digests": digests} for a, b, digests in blocks]
            manifest = {"question": question, "blocks": entries}
            write_whole(self.folder / MANIFEST, json.dumps(manifest).encode())
            (self.folder / JOURNAL).unlink(missing_ok=True)
        return self.folder

    def mend(self) -> int:
        """Decode again what is no longer as it was prepared; how many blocks of samples.

        :raises DataError: a source that is no longer what it was, a disk without space.
        """
        manifest, count = read_manifest(self.folder), 0
        with self._alone():
            for block in manifest["blocks"]:
                wrong = [m for m in self.data.modalities if not _intact(self.folder, m, self.data, block)]
                rows = range(block["start"], block["stop"])
                found = self.data.read(rows) if wrong else {}
                for m in wrong:
                    raw = self.data.verified(m, found[m], rows).tobytes()
                    if _digest(raw) != block["digests"][m]:
                        raise DataError(
                            f"{self.data.origin(rows.start, m)}: expected {m} of samples {rows.start} to {rows.stop} as it was prepared, found another; remove {self.folder}"
                        )
                    self._write(m, rows.start, raw)
                count += bool(wrong)
        return count

    def _write(self, modality: str, start: int, raw: bytes) -> None:
        """Put a block into its place in a finished array, whatever is left of that."""
        part, n = self.data.modalities[modality], len(self.data.index)
        header, path = _header(part, n), self.folder / f"{modality}.npy"
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.write(header)
            file.truncate(len(header) + n * _bytes(part))
            file.seek(len(header) + start * _bytes(part))
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())

    @staticmethod
    def _same(place: Path, held: dict[str, Any], question: dict[str, Any]) -> None:
        """:raises DataError: arrays of other samples, or of other sources, than are there now."""
        if held == question:
            return
        if held | {"sources": None} == question | {"sources": None}:
            raise DataError(
                f"{place}: expected arrays of the files as they are, found those of files that were changed since; remove the folder, or bring the files back"
            )
        raise DataError(f"{place}: expected arrays of these samples, found those of others; remove the folder")

    @contextmanager
    def _alone(self) -> Generator[None, None, None]:
        """The folder, made if need be, for this process alone; the lock goes with the process.

        :raises DataError: another process is at it, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
            try:
                _lock(self.folder, handle)
                yield
            finally:
                os.close(handle)
        except OSError as error:
            reason = "no space left" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise DataError(
                f"{self.folder}: expected a folder that can be written, found: {reason}; what is prepared stays, the same command goes on"
            ) from error

    def _part(self, modality: str) -> Path:
        return self.folder / f"{modality}.npy.part"

    def _journal(self, question: dict[str, Any]) -> list[tuple[int, int, dict[str, str]]]:
        """The blocks that are done, after the arrays were cut back to them."""
        path = self.folder / JOURNAL
        content = path.read_text() if path.exists() else ""
        # The last piece is empty after a whole line, and half a line after a kill: it counts in neither case.
        with reading(path, "a journal of preparation", empty=True) if content else nullcontext():
            whole = [json.loads(line) for line in content.split("\n")[:-1]]
            blocks = [(int(e["start"]), int(e["stop"]), dict(e["digests"])) for e in whole[1:]]
        if whole:
            self._same(path, whole[0], question)
        n, parts = len(self.data.index), self.data.modalities
        for m in parts:
            # A kill came when some arrays had their final names already.
            if (self.folder / f"{m}.npy").exists() and not self._part(m).exists():
                os.replace(self.folder / f"{m}.npy", self._part(m))
        there = [
            self._part(m).stat().st_size - len(_header(p, n)) if self._part(m).exists() else 0 for m, p in parts.items()
        ]
        held = min(size // _bytes(p) for size, p in zip(there, parts.values(), strict=True))
        blocks = [block for block in blocks if block[1] <= held]
        entries = [{"start": a, "stop": b, "digests": digests} for a, b, digests in blocks]
        # Written whole: on a full disk the journal before stays.
        write_whole(path, "".join(json.dumps(line) + "\n" for line in [question, *entries]).encode())
        done = blocks[-1][1] if blocks else 0
        for m, part in parts.items():
            header = _header(part, n)
            with self._part(m).open("r+b" if self._part(m).exists() else "w+b") as file:
                file.write(header)
                file.truncate(len(header) + done * _bytes(part))
        return blocks

    def _room(self, done: int) -> None:
        """Raise early where the disk cannot hold the rest."""
        needed = (len(self.data.index) - done) * sum(map(_bytes, self.data.modalities.values()))
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(errno.ENOSPC, f"{needed:,} bytes are needed and {free:,} are free")

    def _decode(self, blocks: list[tuple[int, int, dict[str, str]]], told: Told) -> None:
        n = len(self.data.index)
        size = max(1, BLOCK_BYTES // sum(map(_bytes, self.data.modalities.values())))
        done = blocks[-1][1] if blocks else 0
        told(done, n)
        files: dict[str, BinaryIO] = {m: self._part(m).open("ab") for m in self.data.modalities}
        try:
            with (self.folder / JOURNAL).open("a") as journal:
                for start in range(done, n, size):
                    stop = min(start + size, n)
                    found = self.data.read(range(start, stop))
                    digests = {m: self._append(files[m], m, found[m], range(start, stop)) for m in files}
                    journal.write(json.dumps({"start": start, "stop": stop, "digests": digests}) + "\n")
                    journal.flush()
                    os.fsync(journal.fileno())
                    blocks.append((start, stop, digests))
                    told(stop, n)
        finally:
            for file in files.values():
                file.close()

    def _append(self, file: BinaryIO, modality: str, values: np.ndarray, rows: range) -> str:
        raw = self.data.verified(modality, values, rows).tobytes()
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
        return _digest(raw)


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=16).hexdigest()


def _lock(folder: Path, handle: int) -> None:
    """:raises DataError: another process has it."""
    try:
        import fcntl
    except ImportError:  # a system without such locks: two at once are then the user's to avoid
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(
            f"{folder}: expected nobody else at it, found another process that prepares it; wait for it to end"
        ) from error
    except OSError as error:
        if error.errno not in {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF}:
            raise


def _intact(folder: Path, modality: str, data: Dataset, block: Mapping[str, Any]) -> bool:
    """Whether a block of an array is what was written."""
    part, n = data.modalities[modality], len(data.index)
    header, path = _header(part, n), folder / f"{modality}.npy"
    if not path.exists() or path.stat().st_size != len(header) + n * _bytes(part):
        return False
    with path.open("rb") as file:
        whole = file.read(len(header)) == header
        file.seek(len(header) + block["start"] * _bytes(part))
        return (
            whole and _digest(file.read((block["stop"] - block["start"]) * _bytes(part))) == block["digests"][modality]
        )


def _bytes(part: Part) -> int:
    return int(np.prod(part.shape, dtype=np.int64)) * np.dtype(part.dtype).itemsize


def _header(part: Part, n: int) -> bytes:
    """The beginning of an npy file (version 1.0) that holds so many samples."""
    described = {"descr": np.dtype(part.dtype).newbyteorder("<").str, "fortran_order": False, "shape": (n, *part.shape)}
    text = repr(described)
    padded = text + " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded.encode("latin1")


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a finished preparation says of itself.

    :raises DataError: none, or a damaged one.
    """
    path = folder / MANIFEST
    try:
        held = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: expected a prepared data set (`mmtheory data prepare`), found: {error.strerror}"
        ) from error
    except ValueError as error:
        raise DataError(f"{path}: expected JSON, found a damaged file ({error})") from error
    if not isinstance(held, dict) or held.get("question", {}).get("format") != FORMAT:
        raise DataError(f"{path}: expected a prepared data set of format {FORMAT}, found another")
    return held


def mapped(folder: Path) -> dict[str, Tensor]:
    """The arrays of a finished preparation, memory-mapped: nothing is read before it is used.

    :raises DataError: a missing or shortened array.
    """
    found: dict[str, Tensor] = {}
    for m, (shape, dtype) in read_manifest(folder)["question"]["modalities"].items():
        path = folder / f"{m}.npy"
        try:
            # Copy on write: torch wants memory it might write, and the file must never change.
            array = np.load(path, mmap_mode="c", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: expected {shape} of {dtype} a sample, found a missing or shortened array ({error}); `mmtheory data prepare` decodes it again"
            ) from error
        found[m] = torch.from_numpy(array)
    return found


def damaged(folder: Path) -> Iterator[str]:
    """One sentence for every block whose bytes are no longer those that were written."""
    manifest = read_manifest(folder)
    for m, array in mapped(folder).items():
        for block in manifest["blocks"]:
            raw = array[block["start"] : block["stop"]].numpy().tobytes()
            if _digest(raw) != block["digests"][m]:
                yield f"{folder / m}.npy: expected samples {block['start']} to {block['stop']} as they were prepared, found other bytes; `mmtheory data prepare` decodes them again"
