"""Training on real data: the library's one loop, epochs chosen on validation, a checkpoint after each, everything measured at the end."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.diagnose import guiding_rule, ridge_scores, trained_shapley
from mmtheory.errors import ArgumentError, StoreError
from mmtheory.experiment import write_whole
from mmtheory.info import subsets
from mmtheory.methods import Method
from mmtheory.methods.mrhp import expected_class
from mmtheory.models import MultimodalModel
from mmtheory.models.prompted import pooled
from mmtheory.rng import Draws, Stream
from mmtheory.stats import clopper_pearson
from mmtheory.training import Scales, Trainer, placed
from real.data import Dataset, Parts

from .board import Board
from .checkpoint import differing, under, unpacked
from .distributed import ALONE, Crew
from .evaluation import METRICS, accuracy, missing_modalities, negative_log_likelihood
from .network import builder, moved, standardised
from .passes import no_compiler
from .prefetch import Ahead, stays
from .ranking import ranking
from .recipe import Recipe
from .selection import alone, rows_at_once
from .tokens import tokenised

Told = Callable[[Mapping[str, Any]], None]
MOST = 6
"""Modalities of which every subset is tried: 64 predictions of the test part."""
ODD = 0.1, 10.0
"""Beyond these a method makes a gradient so much shorter or longer that its learning rate is another one."""


@dataclass
class Fit:
    """One training run: a data set, a recipe, a seed; ``run`` trains, ``measure`` looks at the test part.

    :param folder: where ``checkpoint.safetensors`` is kept after every epoch; None keeps nothing.
    :param notes: what was asked for and could not be had, and why; where a method changes a gradient out of all proportion.
    :param crew: the processes that train together; the first of them keeps and measures.
    """

    data: Dataset
    recipe: Recipe
    seed: int = 0
    split: str | None = None
    device: str = "cpu"
    folder: Path | None = None
    crew: Crew = ALONE
    log: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    notes: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.data = tokenised(self.data, self.recipe)
        plain = self.data.load(self.split, seed=self.seed)
        parts = standardised(plain, self.data.modalities, getattr(torch, self.recipe.dtype))
        self.host = self._host(parts)
        with self._memory(f"inputs that fit on {self.device}", "them; take --inputs host"):
            self.parts: Parts = parts if self.host else moved(parts, self.device)
        if self.host:  # labels are wanted where predictions are
            self.parts = Parts(*(placed(p, torch.device(self.device), inputs=False) for p in (parts.train, parts.validation, parts.test)))  # fmt: skip
        self.look = rows_at_once(parts.train)
        settings = self.recipe.settings()
        settings = replace(settings, batch_size=self.crew.share(settings.batch_size))
        self.method = self._method()
        self.trainer = Trainer(
            self._build(), self.crew.of(self.method), self.parts.train, settings=settings,
            stream=Stream(self.seed, ("real", self.data.name)), validation=self.parts.validation, device=self.device,
            host=self.host,
        )  # fmt: skip
        if self.host:
            self.trainer.feed = Ahead(self.parts.train, self.device)
        # With several processes lengths of before are those of one's own share.
        if self.crew.size == 1 and type(self.method).on_gradients is not Method.on_gradients:
            self.trainer.scales = Scales()
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.best_accuracy = -1, -1.0
        self.seconds = 0.0

    def _method(self) -> Method:
        """The recipe's method, with the parts of its teacher where it has one."""
        method = self.recipe.make_method()
        if not self.recipe.teacher:
            return method
        from .teachers import handed_over  # which looks at other runs

        return handed_over(method, Path(self.recipe.teacher), self)

    def _build(self) -> Callable[[Draws], MultimodalModel]:
        """Makes the model: batch norms over all processes; not compiled where there is nothing to compile with."""
        recipe = self.recipe
        if recipe.compile and (reason := no_compiler(self.device)):
            self.notes.append(f"compile: encoders are not compiled, found {reason}")
            recipe = replace(recipe, compile=False)
        build = builder(self.data.modalities, len(self.data.classes), recipe, self.parts.train, host=self.host)
        normalised = self.crew.normalised
        return lambda draws: normalised(build(draws))

    def _host(self, parts: Parts) -> bool:
        """Whether training inputs stay on the host."""
        if self.recipe.inputs != "auto":
            return self.recipe.inputs == "host"
        every = (v for p in (parts.train, parts.validation, parts.test) for v in p.x.values())
        return stays(sum(v.numel() * v.element_size() for v in every), self.device)

    @property
    def question(self) -> dict[str, Any]:
        """What this run answers, as JSON: a checkpoint of another question is refused."""
        return {
            "dataset": self.data.name,
            "samples": len(self.data.index),
            "split": self.split or self.data.offered[0],
            "seed": self.seed,
            "recipe": self.recipe.question(),
        }

    def run(self, told: Told = lambda _line: None) -> Fit:
        """Train up to the recipe's number of epochs, keeping the state that was best on validation.

        :raises ArgumentError: the loss stopped being finite; the device has no memory left; the checkpoint of the epoch before stays.
        """
        board = self._board()
        while self.trainer.epoch < self.recipe.epochs:
            start = time.perf_counter()
            self.epoch()
            spent = time.perf_counter() - start
            if self.trainer.stopped:
                raise ArgumentError(
                    f"train: expected a finite loss, found none in epoch {self.trainer.epoch}; take a smaller --lr than {self.recipe.lr}"
                )
            self.seconds += spent
            line = self._line(spent)
            told(line)
            if board is not None:
                board.tell(line)
            if self.folder is not None and not self.crew.rank:
                write_whole(self.folder / "checkpoint.safetensors", self.packed())
        if board is not None:
            board.close()
        return self

    def epoch(self) -> None:
        """Train one epoch, to its end on the device.

        :raises ArgumentError: the device has no memory left.
        """
        with self._memory(
            f"a mini-batch that fits on {self.device}",
            f"{self.recipe.batch_size} samples; take more --accumulate than {self.recipe.accumulate}, or a smaller --batch-size",
        ):
            self.trainer.run(1)
            if self.device.startswith("cuda"):
                torch.cuda.synchronize(self.device)

    @staticmethod
    @contextmanager
    def _memory(wanted: str, instead: str) -> Generator[None, None, None]:
        """:raises ArgumentError: the device has no memory left in here."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ArgumentError(f"train: expected {wanted}, found no memory left for {instead}") from error

    def _board(self) -> Board | None:
        """Where the first process writes for TensorBoard, if it was asked to."""
        if not self.recipe.tensorboard or self.folder is None or self.crew.rank:
            return None
        return Board(self.folder / "tensorboard", self.trainer.epoch)

    def _predicted(
        self, part: Batch, by: Callable[[MultimodalModel, nn.ModuleDict, Batch], Tensor] | None = None
    ) -> Tensor:
        """What the model says of every sample, or ``by``.

        :raises ArgumentError: the device has no memory left for one sample.
        """
        with self._memory(
            f"predictions that fit on {self.device}", "one sample; take --inputs host or a smaller encoder"
        ):
            return self.trainer.predict(part, size=self.look if by is None else min(1024, self.look), by=by)

    def _line(self, spent: float) -> dict[str, Any]:
        """Look at validation after an epoch, keep the state if it is the best so far, and say how it went."""
        logits = self._predicted(self.parts.validation)
        held = float(accuracy(logits, self.parts.validation.y))
        if held > self.best_accuracy:
            self.best_accuracy, self.best_epoch = held, self.trainer.epoch
            self.best = self.trainer.state_dict()
        line = {
            "epoch": self.trainer.epoch,
            "validation_accuracy": held,
            "validation_nll": float(negative_log_likelihood(logits, self.parts.validation.y)),
            "seconds": spent,
            "samples_per_second": self.parts.train.n / spent,
            "memory_mb": memory_mb(self.device),
            **self._scaled(),
        }
        self.log.append(line)
        return line

    def _scaled(self) -> dict[str, float]:
        """How long the method left each encoder's gradient in this epoch, over what it was; noted where it is out of all proportion."""
        told = {} if self.trainer.scales is None else self.trainer.scales.told()
        found = {m: float(told[m]) for m in self.data.modalities if m in told and told[m].isfinite()}
        for m, scale in found.items():
            note = f"{self.recipe.method}: makes the gradient of {m} "
            if not ODD[0] <= scale <= ODD[1] and not any(n.startswith(note) for n in self.notes):
                self.notes.append(f"{note}{scale:.3g} times as long in epoch {self.trainer.epoch}")
        return {f"gradient_scale_{m}": scale for m, scale in found.items()}

    def packed(self) -> bytes:
        """State now and at the best epoch; equal runs give equal bytes."""
        now = {f"now.{k}": v for k, v in self.trainer.state_dict().items()}
        best = {f"best.{k}": v for k, v in self.best.items()}
        chosen = {
            "best_epoch": torch.tensor(self.best_epoch),
            "best_accuracy": torch.tensor(self.best_accuracy, dtype=torch.float64),
        }
        tensors = {k: v.cpu().contiguous() for k, v in {**now, **best, **chosen}.items()}
        return save(tensors, metadata={"question": json.dumps(self.question, sort_keys=True)})

    def resume(self) -> Fit:
        """Go on from the checkpoint in the folder, if there is one.

        :raises StoreError: it is damaged, or of another model, method, data set or seed.
        """
        path = (self.folder or Path()) / "checkpoint.safetensors"
        if self.folder is None or not path.exists():
            return self
        held, question = unpacked(path)
        if question != json.loads(json.dumps(self.question)):
            other = {k: v for k, v in question.items() if v != self.question.get(k)}
            raise StoreError(
                f"{path}: expected a checkpoint of this run, found one with {differing(other, self.question)}"
            )
        try:
            self.trainer.load_state_dict(under("now.", held))
        except ArgumentError as error:
            raise StoreError(
                f"{path}: expected a checkpoint of this model and method, found another ({error})"
            ) from error
        self.best = {k: v.to(self.device) for k, v in under("best.", held).items()}
        self.best_epoch, self.best_accuracy = int(held["best_epoch"]), float(held["best_accuracy"])
        return self

    def measure(self) -> dict[str, Any]:
        """Everything about the state that was best on validation, on the test part, as JSON."""
        self.trainer.load_state_dict(self.best)
        test = self.parts.test
        logits = self._predicted(test)
        found: dict[str, Any] = {name: float(metric(logits, test.y)) for name, metric in METRICS.items()}
        seen = {m: self._features(self.parts.train, m) for m in self.data.modalities}
        return {
            **self.question,
            "classes": len(self.data.classes),
            "parameters": sum(p.numel() for p in self.trainer.model.parameters()),
            "cost": self.recipe.make_method().card.cost,
            "processes": self.crew.size,
            "epochs": self.trainer.settings.epochs,
            "best_epoch": self.best_epoch,
            "validation": {"accuracy": self.best_accuracy, "n": self.parts.validation.n},
            "train": {
                "accuracy": float(accuracy(self._predicted(self.parts.train), self.parts.train.y)),
                "n": self.parts.train.n,
            },
            "test": {**found, "accuracy_interval": self._interval(found["accuracy"], test.n), "n": test.n},
            "ranking": self._ranking(logits),
            "probes": self._probes(seen),
            "guiding_rule": self._guiding(seen),
            **self._coalitions(test),
            "seconds": self.seconds,
            "samples_per_second": self.parts.train.n * len(self.log) / self.seconds if self.seconds else None,
            "memory_mb": memory_mb(self.device),
            "log": self.log,
            "notes": self.notes,
        }

    @staticmethod
    def _interval(share: float, n: int) -> list[float]:
        """What the accuracy on so many samples says of that on all such samples, at 95 %: Clopper and Pearson's."""
        side = clopper_pearson(round(share * n), n, alpha=0.05)
        return [side.low, side.high]

    def _ranking(self, logits: Tensor) -> dict[str, float | int | None] | None:
        """How the expected class ranks the test samples of each group, where the data set's classes are levels to rank by."""
        test, kind = self.parts.test, self.data.lists
        if kind is None or test.ids is None:
            return None
        groups = [self.data.index.groups[kind][i] for i in test.ids.tolist()]
        return ranking(expected_class(logits), test.y, groups)

    def _probes(self, seen: Mapping[str, Tensor]) -> dict[str, float]:
        """Test accuracy of a linear probe on each frozen encoder: what a modality still knows inside the model."""
        y, test = self.parts.train.y, self.parts.test
        scores = {m: ridge_scores(z, y, self._features(test, m), len(self.data.classes)) for m, z in seen.items()}
        return {m: float(accuracy(s, test.y)) for m, s in scores.items()}

    def _guiding(self, seen: Mapping[str, Tensor]) -> dict[str, Any] | None:
        """Du et al.'s rule on the validation part, where what was trained are unimodal classifiers of all modalities."""
        held = self.parts.validation
        own = alone(self.trainer, self.method, held, self.look)
        if own.keys() != seen.keys():
            return None
        rule = guiding_rule(seen, self.parts.train.y, {m: self._features(held, m) for m in seen}, held.y, own)
        return {"advice": rule.choice, "averaged": float(rule.averaged.mean()), "joint": float(rule.joint.mean())}

    def _features(self, part: Batch, modality: str) -> Tensor:
        """What the encoder of a modality makes of every sample, [n, d]."""

        def read(model: MultimodalModel, _parts: nn.ModuleDict, some: Batch) -> Tensor:
            return pooled(model.encoders[modality], model.encode(some.x, frozenset((modality,)))[modality])

        return self._predicted(part, read)

    def _coalitions(self, test: Batch) -> dict[str, Any]:
        """Accuracy under every absence, and the Shapley values of that game."""
        if len(test.modalities) > MOST:
            return {"missing": None, "shapley": None}
        worth = missing_modalities(self._predicted, test)
        heard = {"+".join(m for m in test.modalities if m in s): float(worth[s]) for s in subsets(test.modalities)}
        shares = {m: float(v) for m, v in trained_shapley(worth).items()}
        return {"guess": float(worth[frozenset()]), "missing": heard, "shapley": shares}


def memory_mb(device: str) -> float:
    """Most memory used so far: of the device, or of this process."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
