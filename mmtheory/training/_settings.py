"""What every method shares in a fair comparison, and how the learning rate goes over the epochs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final, get_args

from mmtheory.errors import ArgumentError
from mmtheory.methods import Strength

Schedule = Callable[[int], float]
Loss = Literal["cross-entropy", "squared"]
LOSSES: tuple[Loss, ...] = get_args(Loss)
Kernel = Literal["torch", "compiled", "graph"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)


@final
@dataclass(frozen=True)
class Constant:
    """The learning rate as it is.

    >>> Constant()(7)
    1.0
    """

    def __call__(self, epoch: int) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class Cosine:
    r"""Half a cosine from 1 to ``floor``.

    .. math:: f + (1 - f)\,\tfrac12\big(1 + \cos(\pi\, t / T)\big)

    :param epochs: T, after which the factor stays at the floor.
    :param floor: f in [0, 1].

    >>> round(Cosine(4)(2), 3), Cosine(4, floor=0.1)(9)
    (0.5, 0.1)
    """

    epochs: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        if self.epochs < 1 or not 0 <= self.floor <= 1:
            raise ArgumentError(
                f"cosine: expected epochs >= 1 and floor in [0, 1], found {self.epochs} and {self.floor}"
            )

    def __call__(self, epoch: int) -> float:
        done = min(epoch / self.epochs, 1.0)
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done))


@final
@dataclass(frozen=True)
class Stairs:
    """A factor ``gamma`` at each milestone.

    >>> [Stairs((2, 4), gamma=0.5)(t) for t in range(5)]
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if list(self.milestones) != sorted(self.milestones) or not 0 < self.gamma <= 1:
            raise ArgumentError(
                f"stairs: expected rising milestones and gamma in (0, 1], found {self.milestones} and {self.gamma}"
            )

    def __call__(self, epoch: int) -> float:
        return self.gamma ** sum(epoch >= m for m in self.milestones)


@final
@dataclass(frozen=True)
class Warmup:
    """A straight rise over the first ``epochs`` epochs to another schedule, whose clock begins when the rise has ended.

    >>> [Warmup(3, Constant())(t) for t in range(4)] == [0.25, 0.5, 0.75, 1.0]
    True
    """

    epochs: int
    then: Schedule

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise ArgumentError(f"warmup: expected epochs >= 0, found {self.epochs}")

    def __call__(self, epoch: int) -> float:
        if epoch >= self.epochs:
            return self.then(epoch - self.epochs)
        return self.then(0) * (epoch + 1) / (self.epochs + 1)


@dataclass(frozen=True)
class Settings:
    """What every method shares in a fair comparison.

    :param batch_size: samples a step; the last, smaller batch of an epoch is used too unless ``drop_last``.
    :param optimiser: ``sgd`` (with momentum), ``adam`` or ``adamw``.
    :param lr: learning rate, a number or one a replicate.
    :param weight_decay: a number or one a replicate; 0 for none.
    :param schedule: epoch → factor on the learning rate (``Constant``, ``Cosine``, ``Stairs``, ``Warmup``, or a function of yours).
    :param loss: ``cross-entropy`` for class labels; ``squared``, half the squared error, for numbers [*batch, n] and a model of one output
        (then the test's measure is the mean squared error). Methods that look at classes refuse the latter.
    :param kernel: what takes plain passes of stacked MLPs under a linear head: ``torch``'s own products, whose bits are autograd's, or one
        that this machine's C++ compiler makes (``compiled``, on a CPU): equal to rounding, 1.3 to 2.3 times as fast with 16 to 256 units a
        layer, slower with a thousand; or torch's recorded once as a CUDA ``graph`` and launched at once, on a GPU. Other passes never change.
    :param clip: largest norm of a replicate's whole gradient, each replicate by its own norm; inf for no clipping.
    """

    epochs: int = 20
    batch_size: int = 64
    optimiser: str = "sgd"
    lr: Strength = 0.02
    weight_decay: Strength = 1e-4
    momentum: float = 0.9
    schedule: Schedule = Constant()
    clip: float = math.inf
    drop_last: bool = False
    loss: Loss = "cross-entropy"
    kernel: Kernel = "torch"

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or not self.clip > 0:
            raise ArgumentError(
                f"settings: expected epochs >= 0, batch_size >= 1, clip > 0, found {self.epochs}, {self.batch_size}, {self.clip}"
            )
        if self.kernel not in KERNELS:
            raise ArgumentError(f"settings: expected a kernel among {', '.join(KERNELS)}, found {self.kernel!r}")
        if self.loss not in LOSSES:
            raise ArgumentError(f"settings: expected a loss among {', '.join(LOSSES)}, found {self.loss!r}")
