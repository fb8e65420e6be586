"""Selection on validation alone: the epoch of every replicate, then the try of every seed, for each prediction that a method makes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Method, Unimodal
from mmtheory.training import Cost, Trainer, counting
from real.data import Parts

from .evaluation import accuracy

FLOAT = 4
LOOK_BYTES = 64 << 20
"""Inputs, as floats, that are predicted from at once: what an encoder makes of pictures is ten times as large."""


@final
@dataclass(frozen=True)
class Best:
    """Where each of R replicates was best on validation, and what it said of the test part there.

    Shape: score and epoch [R], −1 and 0 where no epoch had finite logits; logits [R, n, classes].
    """

    score: Tensor
    epoch: Tensor
    logits: Tensor

    @classmethod
    def joined(cls, parts: Sequence[Best]) -> Best:
        """Replicates of several trainings, one after the other."""
        return cls(*(torch.cat([getattr(p, k) for p in parts]) for k in ("score", "epoch", "logits")))

    def of_tries(self, tries: int, who: str) -> tuple[Best, Tensor]:
        """Replicates are tries × seeds: each seed at its best try, the first among equals; and which that is.

        :raises ArgumentError: a seed of which no try kept a finite loss.
        """
        score = self.score.view(tries, -1)
        which = score.argmax(0)
        if bool((score.max(0).values < 0).any()):
            raise ArgumentError(f"{who}: expected a finite loss in one try at least, found none")
        places = which * score.shape[1] + torch.arange(score.shape[1])
        return Best(self.score[places], self.epoch[places], self.logits[places]), which


@final
@dataclass(frozen=True)
class Watched:
    """What was found while a trainer ran: the best predictions by name, and the mean step's cost, its seconds those of one replicate."""

    best: Mapping[str, Best]
    cost: Cost


def watched(step: Callable[[], object], trainer: Trainer, parts: Parts, *, epochs: int, size: int) -> Watched:
    """Train for so many epochs, or until no replicate is left; the best of what the method predicts is under "".

    What unimodal training finds is chosen classifier by classifier, each under its modality. The test part is predicted in epochs that are
    the best so far alone, and nothing is measured on it.

    :param step: trains an epoch.
    :param size: samples that are predicted from at once.
    """
    best: dict[str, Best] = {}
    costs: list[Cost] = []
    for epoch in range(1, epochs + 1):
        with counting(trainer) as counted:
            step()
            left = bool(trainer.alive.any())  # on a GPU the epoch ends here
            costs.append(counted())
        if not left:
            break
        held = _said(trainer, parts.validation, size)
        better = {k: _better(best.get(k), z, parts.validation, trainer.alive) for k, z in held.items()}
        if any(bool((score >= 0).any()) for score in better.values()):
            test = _said(trainer, parts.test, size)
            best = {k: _kept(best.get(k), score, epoch, test[k]) for k, score in better.items()}
    if not best:
        nobody = torch.full((trainer.alive.numel(),), -1.0, dtype=torch.float64)
        best = {k: _kept(None, nobody, 0, z) for k, z in _said(trainer, parts.test, size).items()}
    means = (sum(getattr(c, k) for c in costs) / len(costs) for k in ("forwards", "backwards", "seconds"))
    forwards, backwards, seconds = means
    return Watched(best, Cost(forwards, backwards, seconds / trainer.alive.numel()))


def alone(trainer: Trainer, method: Method, part: Batch, size: int) -> dict[str, Tensor]:
    """What the classifier of each modality says, [*batch, n, classes]; nothing of methods that do not train them one by one."""
    if not isinstance(method, Unimodal):
        return {}
    names = method.modalities if method.modality is None else [method.modality]
    said = trainer.predict(part, size=size, by=lambda *of: torch.stack(list(method.unimodal_logits(*of).values())))
    return dict(zip(names, said, strict=True))


def rows_at_once(data: Batch, replicates: int = 1) -> int:
    """Samples that are predicted from at once, for so many replicates side by side."""
    each = FLOAT * sum(v.numel() for v in data.x.values()) // data.y.numel()
    return max(1, min(4096, LOOK_BYTES // (each * replicates)))


def _said(trainer: Trainer, part: Batch, size: int) -> dict[str, Tensor]:
    """Predictions by name, [R, n, classes]."""
    said = {"": trainer.predict(part, size=size)}
    if type(trainer.method) is Unimodal:  # those that build on it predict otherwise than by one classifier
        said |= alone(trainer, trainer.method, part, size)
    return {k: z.reshape(-1, *z.shape[-2:]) for k, z in said.items()}


def _better(before: Best | None, held: Tensor, part: Batch, alive: Tensor) -> Tensor:
    """Accuracy on validation of every replicate that is better than it was before, [R]; −1 for the others."""
    finite = alive.reshape(-1) & held.isfinite().flatten(1).all(-1)
    score = torch.where(finite, accuracy(held, part.y.expand(held.shape[:-1])), -1.0).cpu()
    return score if before is None else torch.where(score > before.score, score, -1.0)


def _kept(before: Best | None, score: Tensor, epoch: int, test: Tensor) -> Best:
    """With this epoch, where it is better and what it says of the test part is finite."""
    test = test.cpu()
    better = (score >= 0) & test.isfinite().flatten(1).all(-1)
    if before is None:
        before = Best(torch.full_like(score, -1.0), torch.zeros_like(score, dtype=torch.int64), test)
    return Best(
        torch.where(better, score, before.score),
        torch.where(better, epoch, before.epoch),
        torch.where(better[:, None, None], test, before.logits),
    )
