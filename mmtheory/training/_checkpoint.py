"""A trainer on disk: tensors and what they belong to in one safetensors file that is there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtheory.errors import StoreError

from ._loop import Trainer

FORMAT = 1
NAME = "mmtheory.trainer"


def save(trainer: Trainer, path: str | Path) -> None:
    """Write everything that a resumed run needs: parameters, buffers, optimiser, method, clock, who is alive.

    Generators need no place of their own: every draw is addressed by replicate, epoch and step, so the stream in the description and
    the epoch among the tensors are their whole state. A reader of the file sees the old checkpoint or the new one, never a part.

    :raises StoreError: a folder that cannot be written.
    """
    from safetensors.torch import save as packed

    target = Path(path)
    tensors = {k: v.contiguous().cpu() for k, v in trainer.state_dict().items()}
    data = packed(tensors, metadata={NAME: json.dumps(description(trainer), sort_keys=True)})
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise StoreError(f"checkpoint {target}: expected a place that can be written, found {error}") from error


def load(trainer: Trainer, path: str | Path) -> Trainer:
    """A trainer set up as the saved one was, brought to where that one stood; its further epochs are the same to the last bit.

    :raises StoreError: no such file, a damaged one, or one of another method, model, stream or setting.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            saved = json.loads((file.metadata() or {}).get(NAME, "{}"))
            tensors: dict[str, Tensor] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (no mapping)
    except (OSError, SafetensorError, json.JSONDecodeError) as error:
        raise StoreError(f"checkpoint {path}: expected a whole safetensors file, found {error}") from error
    expected = json.loads(json.dumps(description(trainer)))
    if differing := sorted(k for k in {*saved, *expected} if saved.get(k) != expected.get(k)):
        shown = {k: (expected.get(k), saved.get(k)) for k in differing}
        raise StoreError(
            f"checkpoint {path}: expected the run it was made by, found other values (asked, saved) of {shown}"
        )
    trainer.load_state_dict({k: v.to(trainer.device) for k, v in tensors.items()})
    return trainer


def description(trainer: Trainer) -> dict[str, Any]:
    """What a checkpoint belongs to, as JSON: method, stream, replicates, settings, owners and their parameters."""
    settings = trainer.settings
    return {
        "format": FORMAT,
        "method": trainer.method.card.name,
        "seed": trainer.stream.seed,
        "path": list(trainer.stream.path),
        "replicates": None if trainer.replicates is None else list(trainer.replicates),
        "samples": trainer.train_data.n,
        "owners": {o: c.stop - c.start for o, c in trainer.flat.columns.items()},
        "dtype": str(trainer.flat.data.dtype),
        "settings": {
            "batch_size": settings.batch_size,
            "optimiser": settings.optimiser,
            "lr": _plain(settings.lr),
            "weight_decay": _plain(settings.weight_decay),
            "momentum": settings.momentum,
            "schedule": [settings.schedule(epoch) for epoch in range(settings.epochs)],
            "clip": str(settings.clip),
            "drop_last": settings.drop_last,
        },
    }


def _plain(value: float | Tensor) -> float | list[Any]:
    return value.tolist() if isinstance(value, torch.Tensor) else value
