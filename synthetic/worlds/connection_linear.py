"""W9, linear: two modalities joined by a linear connection; one is deployed, the other is what the target listens to."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World


@final
@dataclass(frozen=True)
class ConnectionLinear(World):
    r"""The deployed modality ``a`` reaches the target only through ``b``, to which it is connected linearly.

    .. math:: a \sim N(0, I_d), \quad b = Wa + \sigma_w\xi \in R^q, \quad y = \beta^\top b + \sigma\varepsilon

    W is ``gain`` times q orthonormal rows and β has q equal entries. The question is the risk of predicting y from ``a`` alone: directly
    by least squares on n labelled pairs (a, y), or in two stages, Ŵ from m unlabelled pairs (a, b) and β̂ from n labelled pairs (b, y).
    Both excess risks over E[y | a] are exact for finite n and m.

    :param d: width of ``a``.
    :param q: width of ``b``, at most d; q = d is no heterogeneity.
    :param n: labelled samples of the two learners.
    :param m: unlabelled pairs of the two-stage learner.
    :param sigma: standard deviation of the target's own noise; 0 makes the second stage perfect.
    :param sigma_w: standard deviation of the connection's noise; 0 makes ``b`` a function of ``a``.
    :param strength: ‖β‖; 0 leaves nothing to predict.
    :param gain: strength of the connection; 0 cuts it, and ``a`` then knows nothing of y.
    :raises ArgumentError: a dial out of its domain.

    Source: Lu 2023, the setting (paper); this family and its closed forms derived here.

    >>> round(ConnectionLinear(sigma_w=0.25, strength=3.0).unimodal_excess().middle, 9) == round(1.5625 * 40 / 19, 9)
    True
    """

    name: ClassVar[str] = "connection-linear"
    task: ClassVar[Task] = "regression"

    d: int = 40
    q: int = 4
    n: int = 60
    m: int = 400
    sigma: float = 1.0
    sigma_w: float = 0.25
    strength: float = 3.0
    gain: float = 1.0

    def __post_init__(self) -> None:
        if not (1 <= self.q <= self.d and min(self.n, self.m) >= 1):
            raise ArgumentError(f"{self.name}: expected 1 <= q <= d and n, m >= 1, found {self.dials()}")
        if not (0 <= self.strength < math.inf and 0 <= self.gain < math.inf):
            raise ArgumentError(f"{self.name}: expected strength and gain >= 0, found {self.strength} and {self.gain}")
        if not (0 <= self.sigma < math.inf and 0 <= self.sigma_w < math.inf):
            raise ArgumentError(f"{self.name}: expected sigma and sigma_w >= 0, found {self.sigma} and {self.sigma_w}")

    @classmethod
    def from_targets(cls, *, ratio: float, d: int = 40, q: int = 4, n: int = 60, m: int = 400) -> Self:
        """The world (default noises) whose connection strength β makes two stages this many times better than one.

        :raises InfeasibleError: a ratio that no strength gives, with those that some do.
        """
        flat, steep = cls(d=d, q=q, n=n, m=m, strength=0.0), cls(d=d, q=q, n=n, m=m, strength=1.0)
        one, two = flat.unimodal_excess().middle, flat.two_stage_excess().middle
        rise, climb = steep.unimodal_excess().middle - one, steep.two_stage_excess().middle - two
        # Both excesses are affine in ‖β‖², so the ratio runs monotonically from one end to the other.
        squared = (ratio * two - one) / (rise - ratio * climb) if rise != ratio * climb else math.inf
        ends = sorted((one / two, rise / climb))
        if not 0 <= squared < math.inf:
            raise InfeasibleError(f"{cls.name}: expected a ratio in [{ends[0]:g}, {ends[1]:g}], found {ratio:g}")
        return cls(d=d, q=q, n=n, m=m, strength=math.sqrt(squared))

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b")

    @cached_property
    def connection(self) -> Tensor:
        """W [q, d]."""
        return self.gain * torch.eye(self.q, self.d, dtype=torch.float64)

    @cached_property
    def readout(self) -> Tensor:
        """β [q]."""
        return torch.full((self.q,), self.strength / math.sqrt(self.q), dtype=torch.float64)

    def draw(self, n: int, draws: Draws) -> Batch:
        a = draws.normal("a", n, self.d)
        b = a @ self.connection.T.to(draws.device) + self.sigma_w * draws.normal("connection noise", n, self.q)
        y = b @ self.readout.to(draws.device) + self.sigma * draws.normal("label noise", n)
        return Batch({"a": a, "b": b}, y)

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {
            ("bayes_risk", "conditioning"): self._risk,
            ("bayes_risk", "schur"): self._schur,
            ("information", "variance ratio"): self._information,
            ("redundancy", "markov"): partial(self._atom, quantity="redundancy"),
            ("unique", "markov"): partial(self._atom, quantity="unique"),
            ("synergy", "markov"): partial(self._atom, quantity="synergy"),
        }

    def _variance(self) -> float:
        """Var(y)."""
        return self.sigma**2 + (self.sigma_w**2 + self.gain**2) * self.strength**2

    def _risk(self, given: frozenset[str]) -> Interval:
        """σ² once b is known, σ² + σ_w²‖β‖² from a alone: y depends on a only through b."""
        if "b" in given:
            return Interval.exact(self.sigma**2)
        unseen = self.sigma_w**2 + (0.0 if given else self.gain**2)
        return Interval.exact(self.sigma**2 + unseen * self.strength**2, 1e-15 * self._variance())

    def _schur(self, given: frozenset[str]) -> Interval:
        """Var(y | x_S) as a Schur complement of the joint covariance of (a, b, y)."""
        w, beta, d = self.connection, self.readout, self.d
        within = w @ w.T + self.sigma_w**2 * torch.eye(self.q, dtype=torch.float64)
        both = torch.cat([torch.cat([torch.eye(d, dtype=torch.float64), w.T], 1), torch.cat([w, within], 1)])
        cross = torch.cat([w.T @ beta, within @ beta])
        index = [i for i in range(d + self.q) if ("a" if i < d else "b") in given]
        total = float(beta @ within @ beta) + self.sigma**2
        explained = float(cross[index] @ torch.linalg.pinv(both[index][:, index], hermitian=True) @ cross[index])
        return Interval.exact(total - explained if index else total, 1e-10 * (1 + total))

    def _information(self, given: frozenset[str]) -> Interval:
        left, total = self._risk(given).middle, self._variance()
        if total == 0 or not given:
            return Interval.exact(0.0)
        return Interval.exact(0.5 * math.log(total / left), 1e-14) if left > 0 else Interval(math.inf, math.inf)

    def _atom(self, given: frozenset[str], *, quantity: str) -> Interval:
        """a – b – y is a Markov chain: a has nothing of its own, nothing is synergy, and R = I(a; y).

        :raises NotExactError: σ = 0, where the target's information is infinite.
        :raises ArgumentError: not one modality for ``unique``, or not both for the others.
        """
        if self.sigma == 0:
            raise NotExactError(f"{self.name}: expected sigma > 0 for a decomposition, found 0")
        if len(given) != (1 if quantity == "unique" else 2):
            raise ArgumentError(
                f"{quantity}: expected {'one' if quantity == 'unique' else 'both'}, found {sorted(given)}"
            )
        redundant = self._information(frozenset("a"))
        if quantity == "redundancy":
            return redundant
        if quantity == "synergy" or given == frozenset("a"):
            return Interval.exact(0.0)
        return self._information(frozenset("b")) - redundant

    def unimodal_excess(self) -> Interval:
        r"""Expected excess risk of least squares of y on a: :math:`(\sigma^2 + \sigma_w^2\|\beta\|^2)\, d/(n-d-1)`.

        :raises NotExactError: n <= d + 1, where it is infinite or undefined.
        """
        self._enough(self.n, self.d, "n")
        value = self._risk(frozenset("a")).middle * self.d / (self.n - self.d - 1)
        return Interval.exact(value, 1e-14 * value)

    def two_stage_excess(self, *, labelled: float | None = None) -> Interval:
        r"""Expected excess risk of β̂ᵀŴa over E[y | a].

        .. math:: \mathrm{tr}(W^\top CW) + \frac{\sigma_w^2 d}{m-d-1}(\|\beta\|^2 + \mathrm{tr}\,C), \qquad
            C = \frac{\sigma^2}{n-q-1}(WW^\top + \sigma_w^2 I)^{-1}

        :param labelled: n, the world's own by default; infinity leaves the unlabelled stage alone.
        :raises NotExactError: n <= q + 1, m <= d + 1, or b without any variance.
        """
        n = self.n if labelled is None else labelled
        self._enough(n, self.q, "n")
        self._enough(self.m, self.d, "m")
        spread = self.gain**2 + self.sigma_w**2
        if spread == 0 and self.sigma:
            raise NotExactError(f"{self.name}: expected gain or sigma_w > 0 to fit β, found both 0")
        noise = self.sigma**2 * self.q / (spread * (n - self.q - 1)) if self.sigma else 0.0
        value = self.gain**2 * noise + self.sigma_w**2 * self.d / (self.m - self.d - 1) * (self.strength**2 + noise)
        return Interval.exact(value, 1e-14 * value)

    def limit_ratio(self) -> Interval:
        r"""The advantage factor as m → ∞ and σ_w → 0: :math:`\frac dq\cdot\frac{n-q-1}{n-d-1}`; exactly 1 at q = d.

        :raises NotExactError: n <= d + 1.
        """
        self._enough(self.n, self.d, "n")
        return Interval.exact(self.d / self.q * (self.n - self.q - 1) / (self.n - self.d - 1), 1e-13)

    def _enough(self, samples: float, width: int, what: str) -> None:
        """Whether least squares on that many samples has a finite expected risk."""
        if not samples > width + 1:
            raise NotExactError(f"{self.name}: expected {what} > {width + 1}, found {samples}")

    def answers(self) -> Mapping[str, Interval]:
        found: dict[str, Interval] = {}
        if self.n > self.d + 1:
            found |= {"unimodal excess": self.unimodal_excess(), "limit ratio": self.limit_ratio()}
        if self.n > self.q + 1 and self.m > self.d + 1 and self.gain + self.sigma_w > 0:
            found["two-stage excess"] = self.two_stage_excess()
        if "unimodal excess" in found and found.get("two-stage excess", Interval.exact(0)).low > 0:
            value = found["unimodal excess"].middle / found["two-stage excess"].middle
            found["ratio"] = Interval.exact(value, 1e-13 * value)
        return found
