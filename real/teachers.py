"""Encoders and heads from a finished unimodal run on the same data, for methods that start from trained parts."""

from __future__ import annotations

from pathlib import Path

from mmtheory.errors import ArgumentError, StoreError
from mmtheory.methods import METHODS, Method, Pretrained

from .checkpoint import unpacked
from .recipe import Recipe
from .trainer import Fit

TEACHERS = ("unimodal", "ume")


def handed_over(method: Method, folder: Path, to: Fit) -> Method:
    """The method, starting from the best state of the run in a folder in place of a training of its own.

    :raises StoreError: no run there, or a damaged one.
    :raises ArgumentError: a method that takes no trained parts; a run of another method, data set, split or seed.
    """
    if type(method).hand_over is Method.hand_over:
        takers = ", ".join(name for name, kind in METHODS.items() if kind.hand_over is not Method.hand_over)
        raise ArgumentError(
            f"teacher: expected a method that starts from trained parts ({takers}), found {method.card.name}"
        )
    method.hand_over(parts_of(folder, to))
    return method


def parts_of(folder: Path, to: Fit) -> Pretrained:
    """Encoders and heads of the run in a folder, checked to be of the same data as another run."""
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        raise StoreError(f"{path}: expected the checkpoint of a unimodal run, found none")
    _, question = unpacked(path)
    wanted = {"dataset": to.data.name, "split": to.split or to.data.offered[0], "seed": to.seed}
    if other := [f"{k} {question.get(k)!r} (expected {v!r})" for k, v in wanted.items() if question.get(k) != v]:
        raise ArgumentError(f"teacher {folder}: expected a run on the same data, found {', '.join(other)}")
    told = question["recipe"]
    if told.get("method") not in TEACHERS:
        raise ArgumentError(
            f"teacher {folder}: expected a run of {' or '.join(TEACHERS)}, found {told.get('method')!r}"
        )
    run = Fit(to.data, Recipe(**told), to.seed, to.split, to.device, folder).resume()
    run.trainer.load_state_dict(run.best)
    return Pretrained.of(run.trainer.model, run.trainer.auxiliary, run.trainer.train_data)
