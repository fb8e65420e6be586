"""A checkpoint on disk: tensors, and the question they are an answer to."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load
from torch import Tensor

from mmtheory.errors import StoreError


def unpacked(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a checkpoint and the question it was kept for.

    :raises StoreError: it cannot be read or is damaged.
    """
    try:
        raw = path.read_bytes()
        tensors = load(raw)
        length = struct.unpack("<Q", raw[:8])[0]
        question = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"]["question"])
    except Exception as error:
        # The reader's own error type is not exported under a stable name.
        raise StoreError(f"{path}: expected a whole checkpoint, found a damaged file ({error})") from error
    return tensors, question


def under(prefix: str, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, under the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in held.items() if k.startswith(prefix)}


def differing(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """The settings that differ, by name: found (expected)."""
    words: list[str] = []
    for name, value in found.items():
        ours = wanted.get(name)
        if isinstance(value, dict) and isinstance(ours, dict):
            words += [f"{k} {v!r} (expected {ours.get(k)!r})" for k, v in value.items() if ours.get(k) != v]
        else:
            words.append(f"{name} {value!r} (expected {ours!r})")
    return ", ".join(words)
