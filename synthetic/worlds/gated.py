"""W11: modalities that announce whether they can be trusted, and that may be missing altogether."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import binary_entropy, fano_error, shapley, subsets
from mmtheory.rng import Draws
from mmtheory.stats import Interval

from ._dials import names, per_modality
from ._enumerated import Answer, Enumerated
from ._gates import noisy
from ._inverse import feasible
from ._missing import Rates, thinned

Game = Literal["count-correct", "correct"]


@final
@dataclass(frozen=True)
class Gated(Enumerated):
    r"""A fair bit y, copied by each modality that is reliable on this sample; a visible bit says which ones are.

    .. math:: u_m \sim \mathrm{Bern}(\pi_m), \qquad b_m = y \oplus \mathrm{Bern}(\epsilon_m) \text{ if } u_m = 1,
        \text{ else a fair coin}, \qquad x_m = 2u_m + b_m

    Bayes' rule is a vote of the reliable modalities, each with weight ln((1−ε)/ε). Availability is missing completely at random: the
    pattern A comes with probability π(A), and what is known of a subset S is the mean over A of what is known of A ∩ S.

    :param reliability: π_m, one a modality; 1 is a plain noisy copy.
    :param flip: ε_m in [0, 1/2]; 0 is a faithful copy when reliable.
    :param patterns: sets of available modalities, as words of their letters (``""`` is none); () is all, always.
    :param chances: probability of each pattern.
    :param missingness: probability that a modality is absent, independently, on top of the pattern; one number or one a modality.
    :param label_noise: probability that the label is replaced by another one, all alike; 0 for none.
    :raises ArgumentError: a dial out of its domain.

    Source: Wei et al. 2024, the sample-level setting (known); this world derived here.

    >>> round(Gated(reliability=(0.5, 0.5), flip=(0.0, 0.0)).known("bayes_risk", {"a", "b"}).middle, 12)
    0.125
    """

    name: ClassVar[str] = "gated"

    reliability: tuple[float, ...] = (0.6, 0.6)
    flip: tuple[float, ...] = (0.1, 0.1)
    patterns: tuple[str, ...] = ()
    chances: tuple[float, ...] = ()
    missingness: Rates = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.reliability) <= 8:
            raise ArgumentError(f"{self.name}: expected from 2 to 8 modalities, found {len(self.reliability)}")
        if not all(0 <= p <= 1 for p in self.reliability) or not all(0 <= e <= 0.5 for e in self.flips):
            raise ArgumentError(
                f"{self.name}: expected reliability in [0, 1] and flip in [0, 1/2], found {self.dials()}"
            )
        if len(self.patterns) != len(self.chances) or len({frozenset(p) for p in self.patterns}) < len(self.patterns):
            raise ArgumentError(f"{self.name}: expected different patterns with one chance each, found {self.dials()}")
        if self.patterns and (min(self.chances) < 0 or abs(sum(self.chances) - 1) > 1e-9):
            raise ArgumentError(f"{self.name}: expected chances that sum to 1, found {self.chances}")
        if unknown := sorted(set("".join(self.patterns)) - set(self.modalities)):
            raise ArgumentError(f"{self.name}: expected patterns of {''.join(self.modalities)}, found {unknown}")
        _ = self.rates, noisy(torch.full((1, 2), 0.5), self.label_noise)

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...],
        flip: tuple[float, ...] = (0.1, 0.1),
        reliability: tuple[float, ...] | None = None,
    ) -> Self:
        r"""The world of complete samples whose modalities have these informations, :math:`I_m = \pi_m(\ln 2 - h(\epsilon_m))`.

        Unit: nat.

        :param flip: ε, which leaves the reliabilities to be decided.
        :param reliability: π, which if given leaves the flips to be decided instead.
        :raises InfeasibleError: an information outside what the given dial leaves, with the feasible interval.

        >>> world = Gated.from_targets(information=(0.3, 0.1))
        >>> round(world.known("information", {"b"}).middle, 12)
        0.1
        """
        count = len(information)
        if reliability is None:
            flips = per_modality(flip, (0.1, 0.1), count, "flip")
            caps = [math.log(2) - float(binary_entropy(torch.tensor(e, dtype=torch.float64))) for e in flips]
            asked = [feasible("every information, nat,", i, 0.0, c) for i, c in zip(information, caps, strict=True)]
            return cls(tuple(i / c if i else 0.0 for i, c in zip(asked, caps, strict=True)), flips)
        reliable = per_modality(reliability, (0.6, 0.6), count, "reliability")
        asked = [
            feasible("every information, nat,", i, 0.0, p * math.log(2))
            for i, p in zip(information, reliable, strict=True)
        ]
        flips = tuple(
            float(fano_error(math.log(2) - i / p, 2)) if i else 0.5 for i, p in zip(asked, reliable, strict=True)
        )
        return cls(reliable, flips)

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.reliability), self.name)

    @property
    def flips(self) -> tuple[float, ...]:
        """ε_m, one a modality."""
        return per_modality(self.flip, (0.1, 0.1), len(self.reliability), "flip")

    @cached_property
    def availability(self) -> Mapping[frozenset[str], float]:
        if not self.patterns:
            return super().availability
        law = {frozenset(p): c / sum(self.chances) for p, c in zip(self.patterns, self.chances, strict=True)}
        return thinned(law, dict(zip(self.modalities, self.rates, strict=True)))

    @cached_property
    def channels(self) -> Tensor:
        """p(x_m | y) as [M, 4, 2]."""
        good, flip = (torch.tensor(v, dtype=torch.float64) for v in (self.reliability, self.flips))
        coin = (1 - good) / 2
        wrong, right = good * flip, good * (1 - flip)
        rows = [torch.stack([coin, coin], -1), torch.stack([coin, coin], -1)]
        return torch.stack([*rows, torch.stack([right, wrong], -1), torch.stack([wrong, right], -1)], 1)

    @cached_property
    def table(self) -> Tensor:
        """The table of complete samples, [4, …, 4, 2]."""
        count = len(self.modalities)
        table = torch.full((2,), 0.5, dtype=torch.float64)
        for i in range(count):
            table = table * self.channels[i].reshape(*(4 if j == i else 1 for j in range(count)), 2)
        return noisy(table, self.label_noise)

    @cached_property
    def weights(self) -> Tensor:
        """Log-likelihood ratio of y = 1 by symbol, [M, 4]: 0 for an unreliable one, ±ln((1−ε)/ε) for a reliable one."""
        flip = torch.tensor(self.flips, dtype=torch.float64)
        vote = torch.log1p(-flip) - torch.log(flip)
        return torch.stack([0 * flip, 0 * flip, -vote, vote], 1)

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        y = draws.integers("label", 2, n)
        x: dict[str, Tensor] = {}
        for m, good, flip in zip(self.modalities, self.reliability, self.flips, strict=True):
            reliable = draws.uniform(f"reliable {m}", n) < good
            wrong = draws.uniform(f"flip {m}", n) < torch.where(reliable, flip, 0.5)
            x[m] = 2 * reliable.long() + (y ^ wrong.long())
        if not self.label_noise:
            return Batch(x, y)
        return Batch(x, y ^ (draws.uniform("label noise", n) < self.label_noise).long())

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        return {**super().exact_complete(), ("bayes_risk", "vote"): self._vote}

    def _vote(self, given: frozenset[str]) -> Interval:
        """The error of the weighted vote, by the law of the sum of its votes over who is reliable and who errs."""
        law = {0.0: 1.0}  # the sum of votes for the truth → its probability
        for i in (i for i, m in enumerate(self.modalities) if m in given):
            good, flip = self.reliability[i], self.flips[i]
            vote = math.log((1 - flip) / flip) if flip else 1e3
            spread: dict[float, float] = {}
            for (total, mass), (step, p) in itertools.product(
                law.items(), ((0.0, 1 - good), (vote, good * (1 - flip)), (-vote, good * flip))
            ):
                key = round(total + step, 9)
                spread[key] = spread.get(key, 0.0) + mass * p
            law = spread
        risk = sum(p * (0.5 if v == 0 else float(v < 0)) for v, p in law.items())
        return Interval.exact(risk + self.label_noise - 2 * risk * self.label_noise, 1e-12)

    def correctness(self, symbols: Mapping[str, Tensor], y: Tensor) -> dict[frozenset[str], Tensor]:
        """P(Bayes' vote of the coalition is right) at these samples, for every coalition: 1, 0, or ½ at a tie."""
        sign = 2.0 * y - 1
        votes = {
            m: self.weights[i].nan_to_num(posinf=1e3, neginf=-1e3)[symbols[m]] * sign
            for i, m in enumerate(self.modalities)
        }
        right: dict[frozenset[str], Tensor] = {frozenset(): torch.full_like(sign, 0.5)}
        for coalition in subsets(self.modalities):
            total = sum((votes[m] for m in sorted(coalition)), torch.zeros_like(sign))
            right[coalition] = torch.where(total.abs() < 1e-9, 0.5, (total > 0).double())
        return right

    def sample_shapley(
        self, symbols: Mapping[str, Tensor], y: Tensor, *, game: Game = "count-correct"
    ) -> dict[str, Tensor]:
        r"""Shapley value of each modality at each sample, in a game of whether Bayes' vote of a coalition is right there.

        ``count-correct`` is Wei et al.'s :math:`v(C) = |C|\,1[\text{right}]`; ``correct`` is BalanceMM's :math:`1[\text{right}]` with
        v(∅) = 0. They are different games. Ties count one half.

        Shape: symbols and y [*batch_shape, n] -> [*batch_shape, n] each.
        """
        right = self.correctness(symbols, y)
        worth = {c: p * (len(c) if game == "count-correct" else bool(c)) for c, p in right.items()}
        return shapley(worth, self.modalities)

    def shapley_moments(self, *, game: Game = "count-correct") -> dict[str, Interval]:
        """Mean and variance of each sample-level value, and of the difference of the first two, over complete samples.

        Keys ``mean a``, ``variance a``, …, ``variance a-b``.
        """
        cells = torch.cartesian_prod(*(torch.arange(s) for s in self.table.shape)).T
        symbols, mass = dict(zip(self.modalities, cells[:-1], strict=True)), self.table.flatten()
        value = self.sample_shapley(symbols, cells[-1], game=game)
        first, second = self.modalities[:2]
        found: dict[str, Interval] = {}
        for m, phi in value.items():
            mean = float(mass @ phi)
            found |= {f"mean {m}": Interval.exact(mean, 1e-12)}
            found |= {f"variance {m}": Interval.exact(float(mass @ (phi - mean) ** 2), 1e-12)}
        gap = value[first] - value[second]
        spread = float(mass @ (gap - float(mass @ gap)) ** 2)
        return {**found, f"variance {first}-{second}": Interval.exact(spread, 1e-12)}

    def answers(self) -> Mapping[str, Interval]:
        return {f"sample-level value, {k}": v for k, v in self.shapley_moments().items()}
