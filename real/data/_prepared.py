"""Preparation: every sample decoded once into one memory-mapped array a modality, block by block, checked, resumable."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import DataError
from mmtheory.experiment import write_whole

from ._dataset import Dataset, Part

FORMAT = 1
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
        samples = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return {
            "format": FORMAT,
            "dataset": self.data.name,
            "n": len(self.data.index),
            "modalities": described,
            "samples": samples,
        }

    def run(self, told: Told = lambda _done, _all: None) -> Path:
        """Decode what is not decoded yet; returns the folder.

        :raises DataError: a source that cannot be decoded, a folder that answers another question, a disk without space; what was
            prepared before stays.
        """
        question = self.question
        if (self.folder / MANIFEST).exists():
            held = read_manifest(self.folder)
            if held["question"] == question:
                told(question["n"], question["n"])
                return self.folder
            raise DataError(
                f"{self.folder}: expected arrays of these samples, found those of others; remove the folder"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            blocks = self._journal(question)
            self._room(sum(stop - start for start, stop, _ in blocks))
            self._decode(blocks, told)
            for m in self.data.modalities:
                os.replace(self._part(m), self.folder / f"{m}.npy")
        except OSError as error:
            reason = "no space left" if error.errno == errno.ENOSPC else error.strerror or str(error)
            raise DataError(
                f"{self.folder}: expected a folder that can be written, found: {reason}; what is prepared stays, the same command goes on"
            ) from error
        entries = [{"start": a, "stop": b, "digests": digests} for a, b, digests in blocks]
        manifest = {"question": question, "blocks": entries}
        write_whole(self.folder / MANIFEST, json.dumps(manifest).encode())
        (self.folder / JOURNAL).unlink(missing_ok=True)
        return self.folder

    def _part(self, modality: str) -> Path:
        return self.folder / f"{modality}.npy.part"

    def _journal(self, question: dict[str, Any]) -> list[tuple[int, int, dict[str, str]]]:
        """The blocks that are done, after the arrays were cut back to them."""
        path = self.folder / JOURNAL
        blocks: list[tuple[int, int, dict[str, str]]] = []
        lines = path.read_text().split("\n") if path.exists() else []
        # The last piece is empty after a whole line, and half a line after a kill: it counts in neither case.
        whole = [json.loads(line) for line in lines[:-1]]
        if whole and whole[0] != question:
            raise DataError(f"{path}: expected a preparation of these samples, found one of others; remove the folder")
        if not whole:
            path.write_text(json.dumps(question) + "\n")
        blocks = [(e["start"], e["stop"], e["digests"]) for e in whole[1:]]
        path.write_text("".join(json.dumps(line) + "\n" for line in whole or [question]))
        done = blocks[-1][1] if blocks else 0
        for m, part in self.data.modalities.items():
            header = _header(part, len(self.data.index))
            with self._part(m).open("ab") as file:
                if file.tell() < len(header):
                    file.truncate(0)
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
        return hashlib.blake2b(raw, digest_size=16).hexdigest()


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
                f"{path}: expected {shape} of {dtype} a sample, found a missing or shortened array ({error})"
            ) from error
        found[m] = torch.from_numpy(array)
    return found


def damaged(folder: Path) -> Iterator[str]:
    """One sentence for every block whose bytes are no longer those that were written."""
    manifest = read_manifest(folder)
    for m, array in mapped(folder).items():
        for block in manifest["blocks"]:
            raw = array[block["start"] : block["stop"]].numpy().tobytes()
            if hashlib.blake2b(raw, digest_size=16).hexdigest() != block["digests"][m]:
                yield f"{folder / m}.npy: expected samples {block['start']} to {block['stop']} as they were prepared, found other bytes"
