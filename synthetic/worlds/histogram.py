"""W5: a table and the learner that takes the majority in each cell, where every term of a learning bound is exact."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.bounds import expected_absolute_sum
from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws
from mmtheory.stats import Interval

from ._dials import names, per_modality
from ._enumerated import Enumerated
from ._gates import noisy
from ._inverse import inverse
from ._missing import Rates


@final
@dataclass(frozen=True)
class Histogram(Enumerated):
    r"""A binary label whose log-odds are main effects and one interaction of coarse inputs, and the majority vote a cell.

    .. math:: \ln\frac{p(y=1|x)}{p(y=0|x)} = \sum_m s_m u_m(x_m) + t\prod_m u_m(x_m), \qquad u_m(i) = \frac{2i}{a_m-1} - 1

    Cell masses are a product of geometric laws. The learner on modalities S labels every cell of their product alphabet with its majority
    (a fair coin at ties): exact empirical risk minimisation over all labellings, 0–1 loss. A modality that may be missing has one more
    symbol for that, its last, and everything about the learner is exact for what it then sees.

    :param cells: alphabet size a_m of each modality, at least 2.
    :param signal: s_m; 0 makes a modality useless on its own.
    :param interaction: t; 0 makes the modalities conditionally independent contributions.
    :param decay: each symbol of a modality is so many times as frequent as the one before it; 1 for uniform inputs.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :param label_noise: probability that the label is replaced by another one, all alike; 0 for none.
    :raises ArgumentError: a dial out of its domain, or lengths that disagree.

    Source: derived here (theory §11.5).

    >>> world = Histogram(cells=(2, 2), signal=(0.0, 0.0), interaction=2.0, decay=1.0)
    >>> round(world.known("bayes_risk", {"a"}).middle, 6), round(world.known("bayes_risk", {"a", "b"}).middle, 6)
    (0.5, 0.119203)
    """

    name: ClassVar[str] = "histogram"

    cells: tuple[int, ...] = (3, 4)
    signal: tuple[float, ...] = (1.0, 1.0)
    interaction: float = 0.5
    decay: float = 0.9
    missingness: Rates = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        names(len(self.cells), self.name)
        per_modality(self.signal, (1.0, 1.0), len(self.cells), "signal")
        if min(self.cells) < 2 or not 0 < self.decay <= 1 or math.prod(self.cells) > 10**6:
            raise ArgumentError(
                f"{self.name}: expected cells >= 2 (at most 10⁶ in all) and decay in (0, 1], found {self.cells}, {self.decay}"
            )
        _ = self.rates, self.table

    @classmethod
    def from_targets(
        cls,
        *,
        bayes_risk: float | None = None,
        posterior_entropy: float | None = None,
        cells: tuple[int, ...] = (3, 4),
        signal: tuple[float, ...] = (1.0, 1.0),
        interaction: float = 0.5,
        decay: float = 0.9,
    ) -> Self:
        r"""The world with this Bayes risk, or this H(y|x) in nats, of all modalities: every log-odds times one gain.

        Both fall in the gain for any profile. Information need not: the label's own balance moves with it.

        :param signal: and ``interaction``: the profile that the gain multiplies.
        :raises InfeasibleError: above one half (ln 2) or at most what the cells of log-odds 0 keep, with the feasible interval.
        :raises ArgumentError: both targets, or neither.

        >>> round(Histogram.from_targets(bayes_risk=0.2).known("bayes_risk", "ab").middle, 12)
        0.2
        """
        if (bayes_risk is None) == (posterior_entropy is None):
            raise ArgumentError("from_targets: expected either bayes_risk or posterior_entropy, found both or neither")
        quantity, target = (
            ("bayes_risk", bayes_risk) if bayes_risk is not None else ("posterior_entropy", posterior_entropy)
        )
        profile = per_modality(signal, (1.0, 1.0), len(cells), "signal")

        def world(gain: float) -> Self:
            return cls(cells, tuple(gain * s for s in profile), gain * interaction, decay)

        def reached(gain: float) -> float:
            shaped = world(gain)
            return shaped.known(quantity, shaped.modalities).middle

        table = world(1.0).table
        odds = (table[..., 1].log() - table[..., 0].log()).abs()
        weakest = float(odds[odds > 1e-12].min()) if bool((odds > 1e-12).any()) else 1.0
        return world(inverse(reached, float(target or 0.0), 0.0, 30 / weakest, what=quantity))

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.cells), self.name)

    @cached_property
    def table(self) -> Tensor:
        count = len(self.cells)
        signal = per_modality(self.signal, (1.0, 1.0), count, "signal")
        mass = torch.ones((), dtype=torch.float64)
        logit, product = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
        for i, (a, s) in enumerate(zip(self.cells, signal, strict=True)):
            shape = [a if j == i else 1 for j in range(count)]
            place = torch.linspace(-1, 1, a, dtype=torch.float64).view(shape)
            weight = self.decay ** torch.arange(a, dtype=torch.float64).view(shape)
            mass, logit, product = mass * weight / weight.sum(), logit + s * place, product * place
        yes = torch.sigmoid(logit + self.interaction * product)
        return noisy(torch.stack([mass * (1 - yes), mass * yes], dim=-1), self.label_noise)

    def axes(self, given: Iterable[str]) -> list[int]:
        """Axes of the table that are not in ``given``, counted from the end so that leading replicate axes do not matter."""
        keep = set(given)
        return [i - len(self.cells) - 1 for i, m in enumerate(self.modalities) if m not in keep]

    def counts(self, m: int, draws: Draws) -> Tensor:
        """How many of m samples fell into each cell of the table, [*batch, a_1, …, a_M, 2]: the multinomial law itself."""
        shape = self.seen.shape
        table = (self.seen / self.seen.sum()).flatten().numpy()
        return draws.fill("counts", shape, lambda g, _s: g.multinomial(m, table).reshape(shape)).double()

    def learnt(self, counts: Tensor, given: Iterable[str], ties: Tensor) -> Tensor:
        """The majority label of every cell of S, kept broadcastable against the table: [*batch, a_1 or 1, …, a_M or 1].

        :param ties: fair coins [*batch, a_1, …, a_M], the first of which decides where the votes are equal.
        """
        axes = self.axes(given)
        votes = counts.sum(axes, keepdim=True) if axes else counts
        lead = votes[..., 1] - votes[..., 0]
        coin = ties[(..., *(slice(0, size) for size in lead.shape[-len(self.cells) :]))]
        return torch.where(lead == 0, coin, (lead > 0).double())

    def risk(self, labels: Tensor) -> Tensor:
        """Exact 0–1 risk of a labelling broadcastable against the cells, [*batch]."""
        wrong = labels * self.seen[..., 0] + (1 - labels) * self.seen[..., 1]
        return wrong.sum(list(range(-len(self.cells), 0)))

    def empirical_risk(self, labels: Tensor, counts: Tensor) -> Tensor:
        """Share of the sample that a labelling gets wrong, [*batch]."""
        wrong = labels * counts[..., 0] + (1 - labels) * counts[..., 1]
        axes = list(range(-len(self.cells), 0))
        return wrong.sum(axes) / counts.sum([*axes, -len(self.cells) - 1])

    def bayes_labels(self) -> Tensor:
        """The Bayes rule from all modalities, [a_1, …, a_M]."""
        return (self.seen[..., 1] > self.seen[..., 0]).double()

    def occupancy(self, counts: Tensor, given: Iterable[str]) -> Tensor:
        """How many samples each cell of S holds, [*batch, cells of S]."""
        axes = self.axes(given)
        held = (counts.sum(axes) if axes else counts).sum(-1)
        kept = len(self.cells) - len(axes)
        return held.flatten(-kept)

    def complexity(self, m: int, given: Iterable[str]) -> Interval:
        r"""Expected Rademacher complexity of all ±1 labellings of the cells of S.

        .. math:: R_m = \frac1m\sum_c E\,e(\mathrm{Bin}(m, p_c))
        """
        masses = self.seen_marginal(given).sum(-1)
        total = Interval.exact(0.0)
        for p in masses.tolist():
            n, weight, lost = _binomial(m, p)
            total = total + Interval(0.0, m * lost) + float((weight * expected_absolute_sum(n)).sum())
        return total * (1 / m) + Interval.exact(0.0, 1e-12)

    def expected_risk(self, m: int, given: Iterable[str]) -> Interval:
        r"""Expected risk of the learner on m samples of S, exactly.

        .. math:: \sum_c p_c \sum_n \mathrm{Bin}(n; m, p_c)\,[P_n(1 - q_c) + (1 - P_n)\,q_c], \qquad P_n = P(\text{majority of } n \text{ is } 1)
        """
        table = self.seen_marginal(given)
        total = Interval.exact(0.0, 1e-10)
        for no, yes in table.tolist():
            p = no + yes
            n, weight, lost = _binomial(m, p)
            chosen = _majority(n, yes / p if p else 0.5)
            risk = float((weight * (chosen * no + (1 - chosen) * yes)).sum())
            total = total + Interval(risk, risk + lost * p)
        return total


def _binomial(m: int, p: float) -> tuple[Tensor, Tensor, float]:
    """The values of Bin(m, p) within forty deviations of its mean, their probabilities, and what lies outside."""
    radius = 40 * math.sqrt(m * p * (1 - p)) + 40
    n = torch.arange(max(0, math.floor(m * p - radius)), min(m, math.ceil(m * p + radius)) + 1, dtype=torch.float64)
    log = (
        math.lgamma(m + 1)
        - torch.lgamma(n + 1)
        - torch.lgamma(m - n + 1)
        + torch.special.xlogy(n, p)
        + torch.special.xlogy(m - n, 1 - p)
    )
    weight = log.exp()
    return n, weight, max(0.0, 1 - float(weight.sum()))


def _majority(n: Tensor, q: float) -> Tensor:
    """P(Bin(n, q) > n/2) + ½ P(Bin(n, q) = n/2) for each n."""
    from scipy import special

    size = n.long().numpy()  # scipy wants a whole number of trials as such
    half = size // 2
    above = special.bdtrc(half, size, q)
    even = size % 2 == 0
    at = special.bdtr(half, size, q) - special.bdtr((half - 1).clip(min=0), size, q) * (half > 0)
    return torch.from_numpy(above + 0.5 * even * at)
