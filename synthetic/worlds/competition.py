"""W7: one-hot features seen by several modalities, and a network in which the luckier modality shuts the others out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from ._dials import names, per_modality
from ._inverse import feasible, inverse
from ._lottery import head_start, win_probabilities

ROUNDING = 1e-13
QUADRATURE = 1e-11


@final
@dataclass(frozen=True)
class Competition(World):
    r"""A class uniform on K, which modality m shows as :math:`s_m e_y`, or not at all on a share μ_m of the samples.

    .. math:: x_m = s_m B_m e_y, \quad B_m \sim \mathrm{Bernoulli}(1-\mu_m), \qquad
        f_k(x) = \sum_m \sum_{l \le L} \sigma(\langle w_{k,l,m}, x_m\rangle), \quad \sigma(u) = u_+^q/(q\beta^{q-1}) \text{ up to } \beta

    Every modality is a K-ary erasure channel, so risk, information and decomposition are exact. The late-fusion network of smoothed ReLUs
    that is trained on it from weights N(0, σ₀²) learns, class by class, the modality that wins a lottery of initial weights, and then has
    no gradient left for the others: ``answers`` are its limits as σ₀ → 0. (An insufficient sample is empty here, and an undecided
    network guesses, hence the factor 1 − 1/K beside the paper's μ. In training only sufficient samples count: the paper's network
    memorises the others by their noise.)

    :param strength: s_m > 0, one a modality; it changes who is learnt and no information.
    :param mu: μ_m, share of insufficient samples; 0 shows the class always.
    :param classes: K.
    :param neurons: L, neurons a class and modality.
    :param q: power of the activation, above 2; the larger, the less the strengths matter.
    :param sigma0: standard deviation of the initial weights.
    :param beta: where the activation turns linear.
    :raises ArgumentError: a dial out of its domain.

    Source: Huang, Lin, Zhou, Yang and Huang 2022, the setting (recalled); the one-sparse limit derived here.

    >>> round(Competition(mu=(0.5, 0.2), classes=2).known("bayes_risk", "ab").middle, 12)
    0.05
    """

    name: ClassVar[str] = "competition"
    task: ClassVar[Task] = "classification"

    strength: tuple[float, ...] = (1.0, 1.0)
    mu: tuple[float, ...] = (0.3, 0.1)
    classes: int = 10
    neurons: int = 5
    q: float = 4.0
    sigma0: float = 0.01
    beta: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 < s < math.inf for s in self.strength) or not all(0 <= u <= 1 for u in self.insufficient):
            raise ArgumentError(f"{self.name}: expected strength > 0 and mu in [0, 1], found {self.dials()}")
        if self.classes < 2 or self.neurons < 1 or not 2 < self.q < math.inf:
            raise ArgumentError(f"{self.name}: expected classes >= 2, neurons >= 1 and q > 2, found {self.dials()}")
        if not 0 < self.sigma0 < math.inf or not 0 < self.beta < math.inf:
            raise ArgumentError(f"{self.name}: expected sigma0 and beta > 0, found {self.sigma0} and {self.beta}")

    @classmethod
    def from_targets(
        cls,
        *,
        win: float | None = None,
        information: tuple[float, ...] | None = None,
        classes: int = 10,
        neurons: int = 5,
        q: float = 4.0,
    ) -> Self:
        r"""The world whose modalities have these informations, or in which ``a`` of two wins a class with this probability, or both.

        Information decides :math:`\mu_m = 1 - I_m/\ln K`, the strengths decide the lottery: who knows more need not win.

        Unit: nat.

        :param win: of two modalities; None leaves equal strengths.
        :param information: I(x_m; y); None is a share of 0.1 insufficient samples each.
        :raises InfeasibleError: an information outside [0, ln K], or a probability that no strength gives (dead neurons keep it from 0
            and 1), with the feasible interval.

        >>> world = Competition.from_targets(win=0.2, information=(2.0, 1.0))
        >>> round(world.answers()["win_a"].middle, 9), round(world.known("information", "a").middle, 9)
        (0.2, 2.0)
        """
        nats = math.log(classes)
        asked = (0.9 * nats, 0.9 * nats) if information is None else information
        mu = tuple(max(0.0, 1 - feasible("every information, nat,", i, 0.0, nats) / nats) for i in asked)
        mu = (0.1, 0.1) if information is None else mu
        world = cls((1.0,) * len(mu), mu, classes, neurons, q)
        if win is None:
            return world
        top = 1 - 0.5**neurons
        bottom = top * 0.5**neurons
        if not bottom < win < top:
            raise InfeasibleError(f"{cls.name}: expected a win probability in ({bottom:g}, {top:g}), found {win:g}")
        if len(mu) != 2 or max(mu) >= 1:
            raise InfeasibleError(f"{cls.name}: expected two modalities that know something, found mu = {mu}")

        def reached(lead: float) -> float:
            return float(win_probabilities(torch.tensor([math.exp(lead), 1.0], dtype=torch.float64), neurons)[0])

        # The lead is the ratio of head starts (1 − μ)^{1/(q−2)} s^{q/(q−2)}, of which the shares are already given.
        lead = inverse(reached, win, -40.0, 40.0, what="a win probability") * (q - 2)
        lead += math.log((1 - mu[1]) / (1 - mu[0]))
        return replace(world, strength=(math.exp(lead / q), 1.0))

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.strength), self.name)

    @property
    def insufficient(self) -> tuple[float, ...]:
        """μ_m, one a modality."""
        return per_modality(self.mu, (0.3, 0.1), len(self.strength), "mu")

    def draw(self, n: int, draws: Draws) -> Batch:
        y = draws.integers("label", self.classes, n)
        shape = torch.nn.functional.one_hot(y, self.classes).to(torch.float64)
        x: dict[str, Tensor] = {}
        for m, s, mu in zip(self.modalities, self.strength, self.insufficient, strict=True):
            shown = draws.uniform(f"shown {m}", n) >= mu
            x[m] = s * shape * shown[..., None]
        return Batch(x, y)

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        guess, nats = 1 - 1 / self.classes, math.log(self.classes)
        pid = ("redundancy", "unique", "synergy") if len(self.strength) == 2 else ()
        return {
            ("bayes_risk", "erasure"): lambda given: self._hidden(given) * guess,
            ("bayes_risk", "first shown"): lambda given: (-self._seen(given) + 1) * guess,
            ("information", "erasure"): lambda given: (-self._hidden(given) + 1) * nats,
            ("posterior_entropy", "erasure"): lambda given: self._hidden(given) * nats,
            ("label_entropy", "uniform"): lambda _given: Interval.exact(nats, ROUNDING),
            **{(quantity, "degraded erasure"): partial(self._atom, name=quantity) for quantity in pid},
        }

    def _hidden(self, given: frozenset[str]) -> Interval:
        """Probability that none of them shows the class."""
        left = math.prod(u for m, u in zip(self.modalities, self.insufficient, strict=True) if m in given)
        return Interval.exact(left, ROUNDING).clipped(0.0, 1.0)

    def _seen(self, given: frozenset[str]) -> Interval:
        """Probability that one of them shows it, by the first that does."""
        total, none = 0.0, 1.0
        for m, u in zip(self.modalities, self.insufficient, strict=True):
            if m in given:
                total, none = total + none * (1 - u), none * u
        return Interval.exact(total, ROUNDING).clipped(0.0, 1.0)

    def _atom(self, given: frozenset[str], *, name: str) -> Interval:
        """Of two erasure channels the one that erases more is a degraded copy of the other."""
        if len(given) != (1 if name == "unique" else 2):
            raise ArgumentError(f"{name}: expected {1 if name == 'unique' else 2} modalities, found {sorted(given)}")
        nats = math.log(self.classes)
        poor, rich = sorted(((-self._hidden(frozenset(m)) + 1) * nats for m in "ab"), key=lambda side: side.middle)
        if name == "redundancy":
            return poor
        found = (-self._hidden(given) + 1) * nats - (poor if name == "unique" else rich)
        return found.clipped(0.0, nats)

    @cached_property
    def head_starts(self) -> Tensor:
        """What each modality's best initial weight is multiplied by in the lottery, [modalities]."""
        shown = 1 - torch.tensor(self.insufficient, dtype=torch.float64)
        return head_start(torch.tensor(self.strength, dtype=torch.float64), shown, self.q)

    def winner(self, initial: Tensor) -> Tensor:
        """Which modality wins a class (an index; −1: none), from the initial weights of its neurons along its own feature.

        Shape: initial [*batch_shape, modalities, neurons] -> [*batch_shape].
        """
        ahead = self.head_starts.to(initial) * initial.amax(-1)
        return torch.where((ahead > 0).any(-1), ahead.argmax(-1), -1)

    @property
    def dead(self) -> float:
        """Probability that no neuron of one modality starts above zero for a class, so that it is never learnt."""
        return 0.5**self.neurons

    def answers(self) -> Mapping[str, Interval]:
        """Limits for small σ₀: who wins a class, and the risks of joint, unimodal and separately trained networks.

        ``win_*`` per class; ``joint_risk``: (1 − 1/K)(Σ p_r μ_r + P(nothing is learnt)); ``recovered_risk``: every modality learnt by
        itself, the features then added.
        """
        guess, shares = 1 - 1 / self.classes, self.insufficient
        win = win_probabilities(self.head_starts, self.neurons).tolist()
        joint = guess * (sum(p * u for p, u in zip(win, shares, strict=True)) + 1 - sum(win))
        alone = {m: u + (1 - u) * (self.dead if u < 1 else 0) for m, u in zip(self.modalities, shares, strict=True)}
        found = {f"win_{m}": p for m, p in zip(self.modalities, win, strict=True)}
        found |= {f"unimodal_risk_{m}": guess * u for m, u in alone.items()}
        found |= {"joint_risk": joint, "recovered_risk": guess * math.prod(alone.values())}
        return {name: Interval.exact(value, QUADRATURE) for name, value in found.items()}
