"""The two-dial world: a weak and a strong modality, apart in learning speed or in information, which look alike from their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self, final

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task

from ._inverse import feasible
from ._missing import Incomplete, Rates


@final
@dataclass(frozen=True)
class TwoDials(Incomplete):
    r"""Balanced classes seen twice: ``signal`` coordinates of class mean plus noise among unit nuisance ones, randomly rotated.

    .. math:: x^m = Q_m\,[\,c_m(\mu^m_y + \sigma_m\varepsilon),\; \nu\,], \qquad
        c_a = 2^{-\text{speed}},\; \sigma_a = 1 + \text{information}/2,\; c_b = \sigma_b = 1

    ``a`` is the weak modality. The speed dial shrinks its signal and the signal's noise alike, which no Bayes rule feels and gradient
    descent does; the information dial drowns it in noise at equal scale. At 0 and 0 the modalities are alike.

    A stream is a task: class means and rotations come from it as the noise does, so that averages over seeds are averages over tasks,
    and training and test samples of one task are two parts of one draw.

    :param speed: halvings of the weak modality's signal; 0 for none.
    :param information: half of what is added to the weak modality's noise; 0 for nothing.
    :param classes: K.
    :param signal: coordinates that carry the class, per modality.
    :param nuisance: coordinates that do not.
    :param spread: standard deviation of the class means' coordinates.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain.

    Source: methods §16.1 of the specification (derived here): the laboratory of the balancing methods.

    >>> round(TwoDials(classes=8).known("label_entropy").middle, 6) == round(math.log(8), 6)
    True
    """

    name: ClassVar[str] = "two-dials"
    task: ClassVar[Task] = "classification"

    speed: float = 0.0
    information: float = 0.0
    classes: int = 8
    signal: int = 6
    nuisance: int = 18
    spread: float = 1.1
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        if min(self.speed, self.information) < 0 or not math.isfinite(self.speed + self.information):
            raise ArgumentError(
                f"{self.name}: expected finite speed and information >= 0, found {self.speed} and {self.information}"
            )
        if self.classes < 2 or self.signal < 1 or self.nuisance < 0 or not 0 <= self.spread < math.inf:
            raise ArgumentError(
                f"{self.name}: expected classes >= 2, signal >= 1, nuisance >= 0 and finite spread >= 0, found {self.dials()}"
            )
        _ = self.rates

    @classmethod
    def from_targets(
        cls, *, pair_error: tuple[float, float], speed: float = 0.0, classes: int = 8, signal: int = 6
    ) -> Self:
        """The world in which ``a`` and ``b`` confuse two classes this often on average over tasks (see :meth:`answers`).

        :param pair_error: of ``a``, the weak modality, and of ``b``; the second decides the spread, the first the information dial.
        :raises InfeasibleError: an error outside (0, 1/2], or of ``a`` below that of ``b``, with the feasible interval.

        >>> round(TwoDials.from_targets(pair_error=(0.3, 0.1)).answers()["pair error of a"].middle, 12)
        0.3
        """
        weak, strong = pair_error
        feasible("the error of b", strong, 1e-12, 0.5)
        feasible("the error of a", weak, strong, 0.5, attained=strong == 0.5)
        ends = [float(stats.t.isf(error, signal)) for error in (weak, strong)]
        spread = max(0.0, ends[1]) * math.sqrt(2 / signal)
        noise = ends[1] / ends[0] if ends[0] > 0 else 1.0
        return cls(speed, 2 * (noise - 1), classes, signal, spread=spread)

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b")

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        y = draws.integers("label", self.classes, n)
        width = self.signal + self.nuisance
        x: dict[str, Tensor] = {}
        for m, scale, noise in (("a", 2**-self.speed, 1 + self.information / 2), ("b", 1.0, 1.0)):
            means = self.spread * draws.normal(f"means {m}", self.classes, self.signal)
            rest = draws.normal(f"noise {m}", n, width)
            mean = means.gather(-2, y.unsqueeze(-1).expand(*y.shape, self.signal))
            told = scale * (mean + noise * rest[..., : self.signal])
            # A task's rotation is made where its numbers are drawn: stacked factorisations round by their neighbours.
            rotation = draws.fill(f"rotation {m}", (width, width), lambda g, s: np.linalg.qr(g.standard_normal(s)).Q)
            x[m] = _turned(torch.cat([told, rest[..., self.signal :]], -1), rotation)
        return Batch(x, y)

    def exact_complete(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {("label_entropy", "uniform"): lambda _given: Interval.exact(math.log(self.classes), 1e-15)}

    def answers(self) -> Mapping[str, Interval]:
        r"""How often each modality, its means known, confuses two classes: the mean over tasks of the Bayes error between them.

        .. math:: E\,\Phi(-\tfrac{s}{\sigma_m\sqrt2}\chi_k) = P(t_k > \tfrac{s}{\sigma_m}\sqrt{k/2}), \qquad k = \text{signal},\ s = \text{spread}

        Student's t, since a normal number over an independent chi is one. The speed dial is not in it.
        """
        noise = {"a": 1 + self.information / 2, "b": 1.0}
        reach = self.spread * math.sqrt(self.signal / 2)
        return {
            f"pair error of {m}": Interval.exact(float(stats.t.sf(reach / s, self.signal)), 1e-13)
            for m, s in noise.items()
        }

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        raise NotExactError(
            f"{self.name}: expected a world whose law is one, found one task a stream, of unknown means"
        )


def _turned(x: Tensor, rotation: Tensor) -> Tensor:
    """Q x for every sample, column by column: a matrix product or a fused one would round a sample by its place."""
    total = torch.zeros_like(x)
    for value, column in zip(x.unbind(-1), rotation.unbind(-1), strict=True):
        total += value.unsqueeze(-1) * column.unsqueeze(-2)
    return total
