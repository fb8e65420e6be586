"""Recipes: everything a training run is told besides its data and its seed, as a dataclass that TOML files fill and options override."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal

from mmtheory.errors import ArgumentError
from mmtheory.experiment.settings import read_toml
from mmtheory.methods import METHODS, Method
from mmtheory.models import FUSIONS
from mmtheory.training import Constant, Cosine, Schedule, Settings, Stairs, Warmup

Encoders = Literal["auto", "linear", "mlp", "cnn", "transformer"]


@dataclass(frozen=True)
class Recipe:
    """How to train.

    :param method: a name of ``mmtheory.methods.METHODS``.
    :param strengths: the method's own settings, by their names; none means its defaults.
    :param fusion: a name of ``mmtheory.models.FUSIONS``.
    :param encoder: ``auto`` suits each modality's kind; any other is used for all of them.
    :param width: of every modality's features.
    :param schedule: of the learning rate over the epochs; ``stairs`` falls by ``gamma`` at the milestones.
    :param clip: largest norm of the whole gradient; 0 for no clipping.
    :param source: where the settings were published, with the tag of ``methods.md``; "" for ours.
    :param note: what of the source could not be kept.
    :raises ArgumentError: a method or fusion that does not exist, a number out of its domain.
    """

    method: str = "joint"
    fusion: str = "concat"
    encoder: Encoders = "auto"
    width: int = 128
    epochs: int = 30
    batch_size: int = 64
    optimiser: Literal["sgd", "adam", "adamw"] = "adam"
    lr: float = 2e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "cosine", "stairs"] = "constant"
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    warmup: int = 0
    clip: float = 0.0
    drop_last: bool = False
    dtype: Literal["float32", "float64"] = "float32"
    strengths: dict[str, float | int | bool | str] = field(default_factory=dict[str, float | int | bool | str])
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        known("method", self.method, METHODS)
        known("fusion", self.fusion, FUSIONS)
        if self.epochs < 1 or self.width < 1 or self.warmup < 0 or self.clip < 0 or not self.lr > 0:
            raise ArgumentError(
                f"recipe: expected epochs, width >= 1, warmup, clip >= 0 and lr > 0, found {self.epochs}, {self.width}, {self.warmup}, {self.clip}, {self.lr}"
            )
        self.settings()
        self.make_method()

    def settings(self) -> Settings:
        """What the loop is told."""
        return Settings(
            epochs=self.epochs, batch_size=self.batch_size, optimiser=self.optimiser, lr=self.lr, weight_decay=self.weight_decay,
            momentum=self.momentum, schedule=self._schedule(), clip=self.clip or float("inf"), drop_last=self.drop_last,
        )  # fmt: skip

    def _schedule(self) -> Schedule:
        chosen: Schedule = Constant()
        if self.schedule == "cosine":
            chosen = Cosine(max(1, self.epochs - self.warmup))
        elif self.schedule == "stairs":
            chosen = Stairs(self.milestones, self.gamma)
        return Warmup(self.warmup, chosen) if self.warmup else chosen

    def make_method(self) -> Method:
        """A fresh instance of the method with its strengths.

        :raises ArgumentError: a strength that the method does not have.
        """
        try:
            return METHODS[self.method](**self.strengths)
        except TypeError as error:
            raise ArgumentError(
                f"recipe: expected strengths that {self.method} has, found {self.strengths} ({error})"
            ) from error


def known(what: str, name: str, names: Iterable[str]) -> None:
    """:raises ArgumentError: the name is not among them."""
    every = list(names)
    if name not in every:
        near = difflib.get_close_matches(name, every, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentError(f"expected a {what} among {', '.join(every)}, found {name!r}{hint}")


def shipped() -> dict[str, Path]:
    """The recipes that ship with mmtheory: name → file."""
    folder = Path(str(files("real"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(file: Path) -> Recipe:
    """The recipe in a TOML file, or the shipped one of that name.

    :raises ArgumentError: no such file, unknown keys, wrong types, values out of their domain.
    """
    return read_toml(Recipe, file if file.exists() else shipped().get(str(file), file))
