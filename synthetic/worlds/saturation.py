"""W10: features that decide the label when present, and learners that stop when every training sample is covered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from ._dials import names
from ._inverse import feasible
from ._saturation_learners import Learnt, cover

ROUNDING = 1e-13


@final
@dataclass(frozen=True)
class Saturation(World):
    r"""Modalities made of rare features, each of which decides the label by itself whenever it is present.

    .. math:: y \sim \pm 1, \quad x_{m,i} = y\,B_{m,i}, \; B_{m,i} \sim \mathrm{Bernoulli}(p_{m,i}); \qquad
        \text{pair } (m,m'): \; x_m = \varepsilon C,\; x_{m'} = y\varepsilon C, \; C \sim \mathrm{Bernoulli}(q)

    All B, C and the signs ε are independent, so each half of a paired feature is a fair sign that says nothing alone. A sample is
    *undecided* by S when S shows it no feature; then the label is a fair coin, the Bayes risk is half the probability of that, and
    the information ln 2 times the probability of its contrary. (Paper-side formulas that call Π(1−p) the error count an undecided
    sample as wrong; half of them is.) Labels are 0 and 1 in a batch. The paired columns follow a modality's own.

    :param presence: p, a non-increasing tuple a modality; a modality may have no features, ().
    :param paired: q of the paired feature of each pair of modalities, in the order ab, ac, …, bc, …; () for none.
    :param n: training samples, which the learners' stopping depends on.
    :raises ArgumentError: a dial out of its domain.

    Source: derived here, a constructive version of Du et al. 2023.

    >>> Saturation(presence=((0.5,), (0.25,))).known("bayes_risk", "ab").middle
    0.1875
    """

    name: ClassVar[str] = "saturation"
    task: ClassVar[Task] = "classification"

    presence: tuple[tuple[float, ...], ...] = ((0.5, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05))
    paired: tuple[float, ...] = ()
    n: int = 20

    def __post_init__(self) -> None:
        letters = names(len(self.presence), self.name)
        if any(not 0 <= p <= 1 for row in (*self.presence, self.paired) for p in row):
            raise ArgumentError(f"{self.name}: expected probabilities in [0, 1], found {self.dials()}")
        if any(one < other for row in self.presence for one, other in itertools.pairwise(row)):
            raise ArgumentError(f"{self.name}: expected presence falling within a modality, found {self.presence}")
        pairs = math.comb(len(letters), 2)
        if self.paired and len(self.paired) != pairs:
            raise ArgumentError(f"{self.name}: expected () or one mass for each of {pairs} pairs, found {self.paired}")
        if self.n < 1:
            raise ArgumentError(f"{self.name}: expected n >= 1, found {self.n}")

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...] | None = None,
        redundancy: float | None = None,
        unique: float = 0.0,
        synergy: float | None = None,
        features: int = 1,
        n: int = 20,
    ) -> Self:
        r"""The world whose modalities have these informations, or the two-modality world with this decomposition.

        .. math:: R = \ln 2\,(1-U_b), \quad R + U = \ln 2\,(1-U_a), \quad S = \ln 2\; U_a(1 - U_b(1-q))

        where U_m is the probability that m shows nothing: two modalities that err alone already have synergy, and a pair adds to it.

        Unit: nat.

        :param redundancy: R; give this or ``information``.
        :param unique: of modality ``a``.
        :param synergy: S; None is what the two have without a paired feature.
        :param features: of each modality; their hazards fall as features, …, 2, 1.
        :param n: training samples.
        :raises InfeasibleError: a target outside what is left, with the feasible interval.
        :raises ArgumentError: information and redundancy, or neither.

        Source: derived here.

        >>> world = Saturation.from_targets(redundancy=0.2, unique=0.1, synergy=0.25)
        >>> [round(world.known(q, s).middle, 12) for q, s in (("redundancy", "ab"), ("unique", "a"), ("synergy", "ab"))]
        [0.2, 0.1, 0.25]
        """
        if (information is None) == (redundancy is None):
            raise ArgumentError("from_targets: expected either information or redundancy, found both or neither")
        whole, weights = math.log(2), [2 * (features - i) / features / (features + 1) for i in range(features)]

        def presence(asked: float) -> tuple[float, ...]:
            hidden = 1 - feasible("every information (and every sum), nat,", asked, 0.0, whole) / whole
            return tuple(1 - hidden**w for w in weights)

        if information is not None:
            return cls(tuple(presence(i) for i in information), n=n)
        poor, rich = float(redundancy or 0.0), float(redundancy or 0.0) + feasible("unique, nat,", unique, 0.0, whole)
        world = cls((presence(rich), presence(poor)), n=n)
        blind = 1 - rich / whole, 1 - poor / whole
        if synergy is None:
            return world
        feasible("a synergy, nat,", synergy, whole * blind[0] * (1 - blind[1]), whole * blind[0])
        mass = 1 - (1 - synergy / whole / blind[0]) / blind[1] if math.prod(blind) else 0.0
        return replace(world, paired=(min(max(mass, 0.0), 1.0),))

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.presence), self.name)

    @property
    def pairs(self) -> dict[tuple[str, str], float]:
        """The paired features' masses by the modalities that hold their halves."""
        every = itertools.combinations(self.modalities, 2)
        return dict(zip(every, self.paired, strict=True)) if self.paired else {}

    def draw(self, n: int, draws: Draws) -> Batch:
        label = draws.signs("label", n)
        shown = self.occurrences(n, draws)
        columns = {m: [label[..., None] * shown[m]] for m in self.modalities}
        for (one, other), here in ((pair, shown["".join(pair)]) for pair in self.pairs):
            sign = draws.signs(f"half {one}{other}", n)[..., None]
            columns[one].append(sign * here)
            columns[other].append(sign * label[..., None] * here)
        return Batch({m: torch.cat(parts, -1) for m, parts in columns.items()}, ((label + 1) / 2).to(torch.int64))

    def occurrences(self, n: int, draws: Draws) -> dict[str, Tensor]:
        """Which feature occurs in which sample: [*batch_shape, n, F] for each modality, [*batch_shape, n, 1] for each pair ("ab")."""
        rows = {
            **dict(zip(self.modalities, self.presence, strict=True)),
            **{"".join(k): (q,) for k, q in self.pairs.items()},
        }
        return {
            key: draws.uniform(f"occurs {key}", n, len(p)) < torch.tensor(p, dtype=torch.float64, device=draws.device)
            for key, p in rows.items()
        }

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        pid = ("redundancy", "unique", "synergy") if len(self.modalities) == 2 else ()
        return {
            ("bayes_risk", "product"): lambda given: self._undecided(given) * 0.5,
            ("bayes_risk", "first feature"): lambda given: (-self._decided(given) + 1) * 0.5,
            ("information", "erasure"): lambda given: (-self._undecided(given) + 1) * math.log(2),
            ("posterior_entropy", "erasure"): lambda given: self._undecided(given) * math.log(2),
            ("label_entropy", "coin"): lambda _given: Interval.exact(math.log(2), ROUNDING),
            **{(q, "degraded erasure"): partial(self._atom, name=q) for q in pid},
        }

    def _visible(self, given: frozenset[str]) -> list[float]:
        """Probabilities of all features that S can see, whole."""
        own = [p for m, row in zip(self.modalities, self.presence, strict=True) if m in given for p in row]
        return own + [q for (one, other), q in self.pairs.items() if {one, other} <= given]

    def _undecided(self, given: frozenset[str]) -> Interval:
        """Π(1 − p) over what S can see."""
        return _tight(math.prod(1 - p for p in self._visible(given)))

    def _decided(self, given: frozenset[str]) -> Interval:
        """Σ p_i Π_{j<i}(1 − p_j): the first present feature, feature by feature."""
        total, none = 0.0, 1.0
        for p in self._visible(given):
            total, none = total + none * p, none - none * p
        return _tight(total)

    def _atom(self, given: frozenset[str], *, name: str) -> Interval:
        """Of two erasure channels the one that erases more is a degraded copy of the other."""
        if len(given) != (1 if name == "unique" else 2):
            raise ArgumentError(f"{name}: expected {1 if name == 'unique' else 2} modalities, found {sorted(given)}")
        each = [(-self._undecided(frozenset(m)) + 1) * math.log(2) for m in self.modalities]
        poor, rich = sorted(each, key=lambda side: side.middle)
        if name == "redundancy":
            return poor
        found = (-self._undecided(given) + 1) * math.log(2) - (poor if name == "unique" else rich)
        return found.clipped(0.0, math.log(2))

    def learn(self, shown: Mapping[str, Tensor]) -> Learnt:
        """What the unimodal learners, the joint learner and the distilled one learn from these occurrences, draw by draw."""
        return cover(dict(zip(self.modalities, self.presence, strict=True)), self.pairs, shown)

    def expected_unimodal(self, modality: str) -> Interval:
        r"""Expected undecided probability of a modality trained alone on n samples.

        .. math:: \sum_k \big[c_k^n - c_{k-1}^n\big](1 - c_k), \qquad c_k = 1 - \prod_{i\le k}(1-p_i)

        It stops after k features exactly when k, not k − 1, cover all n samples; the last k takes what is left.
        """
        return _stopped(self.presence[self.modalities.index(modality)], self.n)

    def expected_ensemble(self) -> Interval:
        """Expected 0–1 risk of the ensemble of unimodal learners (UME): their features are independent, so expectations multiply."""
        return _tight(math.prod(self.expected_unimodal(m).middle for m in self.modalities)) * 0.5

    def expected_joint(self) -> Interval:
        """Expected 0–1 risk of the joint learner: one chain of all features, paired ones included, in falling probability."""
        every = sorted((p for row in (*self.presence, self.paired) for p in row), reverse=True)
        return _stopped(tuple(every), self.n) * 0.5

    def crossover(self) -> Interval:
        """The least mass of a paired feature (the same for every pair) from which on the joint learner beats the ensemble on average.

        0 if it does without any; as the mass goes to 1 it always does, unless the ensemble has no risk at all.

        :raises NotExactError: one modality, or an ensemble without risk.
        """
        count, ensemble = math.comb(len(self.modalities), 2), self.expected_ensemble().middle
        if not count or ensemble <= ROUNDING:
            raise NotExactError(f"{self.name}: expected two modalities and an ensemble with risk, found none to cross")

        def excess(q: float) -> float:
            return replace(self, paired=(q,) * count).expected_joint().middle - ensemble

        if excess(0.0) <= 0:
            return Interval.exact(0.0)
        grid = [i / 512 for i in range(513)]
        last = max(i for i, q in enumerate(grid) if excess(q) > 0)
        low, high = grid[last], grid[last + 1]
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle) > 0 else (low, middle)
        return Interval.exact(high, 1e-12)

    def answers(self) -> Mapping[str, Interval]:
        """Expected 0–1 risks after n training samples, and the paired mass at which joint training overtakes the ensemble."""
        found = {"ensemble_risk": self.expected_ensemble(), "joint_risk": self.expected_joint()}
        found |= {f"unimodal_risk_{m}": self.expected_unimodal(m) * 0.5 for m in self.modalities}
        try:
            return {**found, "crossover_mass": self.crossover()}
        except NotExactError:
            return found


def _tight(value: float) -> Interval:
    """A probability from short products and sums."""
    return Interval.exact(value, ROUNDING).clipped(0.0, 1.0)


def _stopped(chain: tuple[float, ...], n: int) -> Interval:
    """E Π_{i≤K}(1−p_i) where K is the first k that covers n samples, or all of the chain."""
    none, before, total = 1.0, 0.0, 0.0
    for k, p in enumerate(chain, start=1):
        none *= 1 - p
        now = 1.0 if k == len(chain) else (1 - none) ** n
        total, before = total + (now - before) * none, now
    return _tight(total if chain else 1.0)
