"""W9, sine: a connection so rough that one modality must shatter it and the other reads it off a single pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, final

import torch
from scipy import stats
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from ._inverse import inverse


@final
@dataclass(frozen=True)
class ConnectionSine(World):
    r"""Lu's motivating example on a grid: b = θa, and the label is the sign of sin(1/b).

    .. math:: a = 2^{-k},\; k \sim U\{1..K\}, \qquad b = \theta a, \qquad
        \theta^{-1} = \pi\,(0.c_1c_2\ldots c_K1)_2, \qquad y = 1[\sin(1/b) < 0] = c_k

    The grid has 2^K values of θ, one a code c, and the label at a = 2^{−k} is the k-th digit of the code: from ``a`` and labels alone θ
    is learnt digit by digit, and every pattern of labels on the K points has a θ that fits it (the class shatters them). One pair (a, b)
    gives θ = b/a exactly, and no label is needed. No class of 2^K functions is harder to learn: such a class never shatters more than K
    points.

    The population knows no heterogeneity (all subsets have one Bayes risk): what differs is only what must be learnt.

    :param bits: K, digits of the code; the smallest a is 2^{−K} and the grid's resolution likewise. At most 40 (float64 holds 1/θ).
    :param code: the true code, its most significant digit first; None is 0101…
    :param label_noise: probability that a label is flipped; 0 is none.
    :param n: labelled samples of the learners in ``answers``.
    :raises ArgumentError: a dial out of its domain.

    Source: Lu 2023, the motivating example (paper); the dyadic design and its closed forms derived here.

    >>> round(ConnectionSine(bits=8, n=1).answers()["unimodal risk"].middle, 12)
    0.4375
    """

    name: ClassVar[str] = "connection-sine"
    task: ClassVar[Task] = "classification"

    bits: int = 10
    code: int | None = None
    label_noise: float = 0.0
    n: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 40 or self.n < 0 or not 0 <= self.label_noise <= 0.5:
            raise ArgumentError(
                f"{self.name}: expected 1 <= bits <= 40, n >= 0 and label_noise in [0, 1/2], found {self.dials()}"
            )
        if self.code is not None and not 0 <= self.code < 2**self.bits:
            raise ArgumentError(f"{self.name}: expected a code of {self.bits} bits, found {self.code}")

    @classmethod
    def from_targets(
        cls,
        *,
        information: float | None = None,
        bayes_risk: float | None = None,
        unimodal_risk: float | None = None,
        bits: int = 10,
        code: int | None = None,
        n: int = 5,
    ) -> Self:
        """The world whose label noise gives this information (nat), this Bayes risk, or this risk after n labels without pairs.

        :raises InfeasibleError: a target that no label noise gives, with the feasible interval.
        :raises ArgumentError: not exactly one target.

        >>> round(ConnectionSine.from_targets(unimodal_risk=0.4).answers()["unimodal risk"].middle, 12)
        0.4
        """
        asked = {"information": information, "bayes_risk": bayes_risk, "unimodal risk": unimodal_risk}
        given = {name: value for name, value in asked.items() if value is not None}
        if len(given) != 1:
            raise ArgumentError(f"from_targets: expected exactly one target, found {sorted(given) or 'none'}")
        ((name, value),) = given.items()

        def reached(flip: float) -> float:
            world = cls(bits, code, flip, n)
            return (world.answers()[name] if name == "unimodal risk" else world.known(name, "ab")).middle

        return cls(bits, code, inverse(reached, value, 0.0, 0.5, what=name), n)

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b")

    @cached_property
    def digits(self) -> Tensor:
        """c_1 … c_K as int64."""
        code = sum(2**i for i in range(0, self.bits, 2)) if self.code is None else self.code
        return torch.tensor([code >> (self.bits - k) & 1 for k in range(1, self.bits + 1)])

    @cached_property
    def theta(self) -> float:
        """The connection b/a."""
        places = 0.5 ** torch.arange(1, self.bits + 1, dtype=torch.float64)
        return 1 / (math.pi * (float(self.digits.double() @ places) + 0.5 ** (self.bits + 1)))

    def grid(self) -> Tensor:
        """All 2^K values of θ, by code.

        :raises ArgumentError: more than 20 bits.
        """
        if self.bits > 20:
            raise ArgumentError(f"{self.name}: expected at most 20 bits for a list of the grid, found {self.bits}")
        codes = torch.arange(2**self.bits, dtype=torch.float64) + 0.5
        return 1 / (math.pi * codes * 0.5**self.bits)

    def draw(self, n: int, draws: Draws) -> Batch:
        k = draws.integers("digit", self.bits, n)
        a = 0.5 ** (k.double() + 1)
        flips = draws.uniform("label noise", n) < self.label_noise
        label = self.digits.to(draws.device)[k] ^ flips.long()
        return Batch({"a": a[..., None], "b": (self.theta * a)[..., None]}, label)

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {
            ("bayes_risk", "digits"): self._risk,
            ("information", "digits"): self._information,
            ("label_entropy", "digits"): lambda _given: Interval.exact(_bit(self._ones), 1e-15),
        }

    @property
    def _ones(self) -> float:
        """P(y = 1)."""
        share = float(self.digits.double().mean())
        return share + self.label_noise - 2 * share * self.label_noise

    def _risk(self, given: frozenset[str]) -> Interval:
        """The label noise, as soon as either modality is seen."""
        return Interval.exact(self.label_noise if given else min(self._ones, 1 - self._ones), 1e-15)

    def _information(self, given: frozenset[str]) -> Interval:
        return Interval.exact(_bit(self._ones) - _bit(self.label_noise) if given else 0.0, 1e-14)

    def answers(self) -> Mapping[str, Interval]:
        k, n, flip = self.bits, self.n, self.label_noise
        unseen = (1 - 1 / k) ** n
        found = {
            "unimodal risk": Interval.exact(flip + (1 - 2 * flip) * self._wrong(), 1e-12),
            "multimodal risk": Interval.exact(flip),
            "unseen digits": Interval.exact(k * unseen, 1e-12),
        }
        if not flip:
            # Consistent codes differ from the truth in any of the digits never seen, and in no other.
            found["risk spread"] = Interval.exact(unseen, 1e-14)
        return found

    def _wrong(self) -> float:
        """P(the empirical risk minimiser on n labels has one digit wrong), ties broken by a fair coin."""
        seen = torch.arange(self.n + 1, dtype=torch.float64).numpy()
        mass = stats.binom.pmf(seen, self.n, 1 / self.bits)
        flip = self.label_noise
        lost = stats.binom.sf(seen / 2, seen, flip) + 0.5 * stats.binom.pmf(seen / 2, seen, flip)
        return float(mass @ lost)


def _bit(p: float) -> float:
    """Binary entropy, nat."""
    return -sum(v * math.log(v) for v in (p, 1 - p) if v > 0)
