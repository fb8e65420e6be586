"""What a method costs: counted before training from the passes it declares, and counted while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import nn

from mmtheory.methods import Gradients, Method, Step
from mmtheory.models import Encoder, MultimodalModel

from ._loop import Trainer


@dataclass(frozen=True)
class Cost:
    """Forwards and backwards of everything a step; joint training is one of each.

    An encoder counts by its share of the encoders' parameters; the fusion, heads and products of the features do not count.

    :param seconds: of the wall clock a step; 0 where nobody measured.

    >>> Cost(2.0, 2.0).over_joint, str(Cost(1.0, 2.0))
    (2.0, '1F + 2B a step, 1.67 of joint training')
    """

    forwards: float
    backwards: float
    seconds: float = 0.0

    @property
    def over_joint(self) -> float:
        """Compute over joint training's, a backward being two forwards."""
        return (self.forwards + 2 * self.backwards) / 3

    def __str__(self) -> str:
        timed = f", {1e3 * self.seconds:.3g} ms" if self.seconds else ""
        return f"{self.forwards:.3g}F + {self.backwards:.3g}B a step, {self.over_joint:.3g} of joint training{timed}"


def predicted_cost(method: Method, model: MultimodalModel, *, epoch: int = 0, index: int = 0) -> Cost:
    """The cost of one step from the method's declared passes: who is heard in each, and how many rows are differentiated.

    A row is taken to reach every encoder that is heard, which is the most it can. Forwards that a method asks for by itself (teachers,
    the other modalities' predictions) are in its card's words, and in ``counted_cost``.
    """
    share = encoder_shares(model)
    forwards = backwards = 0.0
    for phase in method.phases(epoch, index):
        heard = sum(v for m, v in share.items() if phase.hear is None or m in phase.hear)
        forwards += heard
        backwards += heard * len(phase.rows)
    return Cost(forwards, backwards)


def counted_cost(trainer: Trainer, *, epochs: int = 1) -> Cost:
    """Train for so many epochs and count: every call of an encoder, every row's backward by the encoders that it reaches."""
    with counting(trainer) as counted:
        trainer.run(epochs)
        return counted()


@contextmanager
def counting(trainer: Trainer) -> Generator[Callable[[], Cost], None, None]:
    """Count what is trained meanwhile; nothing else may run the trainer's encoders. Asked, it tells the mean step so far.

    What the method trains beside and the encoders that it keeps for itself (teachers) count too, spread over the steps.
    """
    counter = _Counter(encoder_shares(trainer.model), ExitStack())
    with counter.hooks:
        counter.joins(trainer)
        yield counter.told


class _Counter:
    """Looks on at a trainer and at those that its method trains beside it."""

    def __init__(self, share: Mapping[str, float], hooks: ExitStack) -> None:
        self.share, self.hooks = share, hooks
        self.forwards = self.backwards = 0.0
        self.steps: set[tuple[int, int]] = set()
        self.first: Trainer | None = None
        self.started = time.perf_counter()

    def joins(self, trainer: Trainer) -> None:
        """Look on at this one too."""
        self.first = self.first or trainer
        every = [trainer.model.encoders, *(v for v in vars(trainer.method).values() if isinstance(v, nn.ModuleDict))]
        for m, encoder in (
            (m, e) for part in every for m, e in part.items() if isinstance(e, Encoder) and m in self.share
        ):
            self.hooks.callback(encoder.register_forward_hook(self._count(m)).remove)
        self.hooks.callback(setattr, trainer, "watch", trainer.watch)
        self.hooks.callback(setattr, trainer, "starts_beside", trainer.starts_beside)
        trainer.watch, trainer.starts_beside = self, self.joins

    def _count(self, m: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            self.forwards += self.share[m]

        return hook

    def __call__(self, step: Step, gradients: Gradients, *, by_hand: bool) -> None:
        if self.first is not None and step.model is self.first.model:
            self.steps.add((step.epoch, step.index))
        self.forwards += by_hand
        for reached in gradients.reached.values():
            self.backwards += sum(self.share[m] for m in reached & self.share.keys())

    def told(self) -> Cost:
        """The mean step so far."""
        n = max(1, len(self.steps))
        return Cost(self.forwards / n, self.backwards / n, (time.perf_counter() - self.started) / n)


def encoder_shares(model: MultimodalModel) -> dict[str, float]:
    """Each encoder's share of the encoders' parameters."""

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    sizes = {m: size(encoder) for m, encoder in model.encoders.items()}
    whole = sum(sizes.values())
    return {m: v / whole for m, v in sizes.items()}
