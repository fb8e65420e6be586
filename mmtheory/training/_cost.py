"""What a method costs: counted before training from the passes it declares, and counted while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from torch import nn

from mmtheory.methods import Gradients, Method, Step
from mmtheory.models import MultimodalModel

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
    """Count what is trained meanwhile; nothing else may run the trainer's encoders. Asked, it tells the mean step so far."""
    share = encoder_shares(trainer.model)
    calls = dict.fromkeys(share, 0)
    rows = dict.fromkeys(share, 0)
    closed = 0
    steps: set[tuple[int, int]] = set()

    def watch(step: Step, gradients: Gradients, *, by_hand: bool) -> None:
        nonlocal closed
        steps.add((step.epoch, step.index))
        closed += by_hand
        for reached in gradients.reached.values():
            for m in reached & share.keys():
                rows[m] += 1

    def count(m: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            calls[m] += 1

        return hook

    started = time.perf_counter()

    def counted() -> Cost:
        seconds, n = time.perf_counter() - started, max(1, len(steps))
        forwards = closed + sum(calls[m] * v for m, v in share.items())
        return Cost(forwards / n, sum(rows[m] * v for m, v in share.items()) / n, seconds / n)

    with ExitStack() as stack:
        for m, encoder in trainer.model.encoders.items():
            handle = encoder.register_forward_hook(count(m))
            stack.callback(handle.remove)
        stack.callback(setattr, trainer, "watch", trainer.watch)
        trainer.watch = watch
        yield counted


def encoder_shares(model: MultimodalModel) -> dict[str, float]:
    """Each encoder's share of the encoders' parameters."""

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    sizes = {m: size(encoder) for m, encoder in model.encoders.items()}
    whole = sum(sizes.values())
    return {m: v / whole for m, v in sizes.items()}
