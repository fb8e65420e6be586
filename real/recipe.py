"""Recipes: everything a training run is told besides its data and its seed, as a dataclass that TOML files fill and options override."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from mmtheory.errors import ArgumentError, likely
from mmtheory.experiment.settings import read_toml
from mmtheory.methods import METHODS, Method, configured, parted
from mmtheory.models import FUSIONS
from mmtheory.training import Constant, Cosine, Schedule, Settings, Stairs, Warmup

from .encoders import KINDS, named
from .passes import Passes, Precision

OWN = ("auto", "linear", "mlp", "cnn", "transformer")
"""Encoders of the library; those of transformers are ``encoders.KINDS``."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    :param method: a name of ``mmtheory.methods.METHODS``.
    :param strengths: the method's own settings, by their names; none means its defaults.
    :param fusion: a name of ``mmtheory.models.FUSIONS``.
    :param encoder: one for every modality, or a table modality → encoder whose others are ``auto``, which suits each modality's kind. One
        is ``auto``, ``linear``, ``mlp``, ``cnn``, ``transformer``, or of transformers ``resnet``, ``vit``, ``ast``, ``bert``, ``clip``, with a
        size or a folder of weights behind a colon (``resnet:18``, ``vit:/path``).
    :param width: of every modality's features; 0 takes the own width of an encoder of transformers.
    :param adapters: rank of the low-rank adapters (peft) that are trained in place of an encoder of transformers; 0 trains it itself.
    :param precision: ``bf16`` and ``fp16`` run encoders in half precision; everything that a method sees stays float32.
    :param accumulate: parts in which encoders take a mini-batch one after the other: less memory for one more forward.
    :param channels_last: pictures with their channels last in memory.
    :param compile: encoders by torch.compile.
    :param inputs: where training inputs lie: on the ``device``, on the ``host`` from where they are copied ahead of their use, or ``auto``,
        on the device if they fill no more than half of what is free there. Results do not depend on it.
    :param tensorboard: write every epoch's line for TensorBoard too.
    :param schedule: of the learning rate over the epochs; ``stairs`` falls by ``gamma`` at the milestones.
    :param clip: largest norm of the whole gradient; 0 for no clipping.
    :param teacher: folder of a finished unimodal (or ume) run on the same data and seed, whose parts mmlora starts from; "" trains them first.
    :param source: where the settings were published, with the tag of ``methods.md``; "" for ours.
    :param note: what of the source could not be kept.
    :raises ArgumentError: a method or fusion that does not exist, a number out of its domain.
    """

    method: str = "joint"
    fusion: str = "concat"
    encoder: str | dict[str, str] = "auto"
    width: int = 128
    adapters: int = 0
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
    precision: Precision = "float32"
    accumulate: int = 1
    channels_last: bool = False
    compile: bool = False
    inputs: Literal["auto", "device", "host"] = "auto"
    tensorboard: bool = False
    teacher: str = ""
    strengths: dict[str, float | int | bool | str] = field(default_factory=dict[str, float | int | bool | str])
    source: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        known("method", self.method, METHODS)
        known("fusion", self.fusion, FUSIONS)
        if self.epochs < 1 or self.width < 0 or self.warmup < 0 or self.clip < 0 or not self.lr > 0:
            raise ArgumentError(
                f"recipe: expected epochs >= 1, width, warmup, clip >= 0 and lr > 0, found {self.epochs}, {self.width}, {self.warmup}, {self.clip}, {self.lr}"
            )
        self._check_encoders()
        self.settings()
        self.make_method()

    def _check_encoders(self) -> None:
        """:raises ArgumentError: an encoder that does not exist or cannot be had so."""
        every = {"": self.encoder} if isinstance(self.encoder, str) else self.encoder
        for text in every.values():
            known("encoder", text.partition(":")[0], (*OWN, *KINDS))
            if text.partition(":")[0] in KINDS:
                named(text)
            elif ":" in text or not self.width:
                raise ArgumentError(f"encoder {text}: expected a name alone and width >= 1, found width {self.width}")
        if self.adapters and not any(text.partition(":")[0] in KINDS for text in every.values()):
            raise ArgumentError(
                f"recipe: expected adapters with an encoder among {', '.join(KINDS)}, found {self.encoder}"
            )
        if self.accumulate < 1 or self.adapters < 0 or (self.precision != "float32" and self.dtype != "float32"):
            raise ArgumentError(
                f"recipe: expected accumulate >= 1, adapters >= 0 and half precision with dtype float32, found {self.accumulate}, {self.adapters}, {self.precision} and {self.dtype}"
            )

    @property
    def by_modality(self) -> dict[str, str]:
        """Encoders of single modalities."""
        return self.encoder if isinstance(self.encoder, dict) else {}

    def encoder_of(self, modality: str) -> str:
        """The encoder of a modality, as it is written."""
        return self.encoder if isinstance(self.encoder, str) else self.encoder.get(modality, "auto")

    @property
    def singly(self) -> bool:
        """Whether what it asks for has no replicate axis, so that seeds are trained one by one."""
        every = self.by_modality.values() if self.by_modality else (str(self.encoder),)
        return self.passes != Passes() or any(text.partition(":")[0] in KINDS for text in every)

    @property
    def passes(self) -> Passes:
        """How encoders are run."""
        return Passes(self.precision, self.accumulate, self.channels_last, self.compile)

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
        return configured(self.method, self.strengths)

    def of(self, text: str) -> Recipe:
        """The same for the method in ``text``, settings of its own behind colons; the recipe's own strengths stay with its own method.

        :raises ArgumentError: an unknown method, or a setting that it does not have.

        >>> Recipe().of("ogm:alpha=0.3").strengths
        {'alpha': 0.3}
        """
        name, own = parted(text)
        return replace(self, method=name, strengths={**(self.strengths if name == self.method else {}), **own})

    def question(self) -> dict[str, Any]:
        """What of it results depend on, as JSON."""
        return {k: v for k, v in json.loads(json.dumps(asdict(self))).items() if k not in {"inputs", "tensorboard"}}


def known(what: str, name: str, names: Iterable[str]) -> None:
    """:raises ArgumentError: the name is not among them."""
    every = list(names)
    if name not in every:
        article = "an" if what[0] in "aeiou" else "a"
        raise ArgumentError(f"expected {article} {what} among {', '.join(every)}, found {name!r}{likely(name, every)}")


def shipped() -> dict[str, Path]:
    """The recipes that ship with mmtheory: name → file."""
    folder = Path(str(files("real"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_recipe(file: Path) -> Recipe:
    """The recipe in a TOML file, or the shipped one of that name.

    :raises ArgumentError: no such file, unknown keys, wrong types, values out of their domain.
    """
    if not file.exists():
        known("TOML file or a shipped recipe", str(file), shipped())
        file = shipped()[str(file)]
    return read_toml(Recipe, file, option="--recipe")
