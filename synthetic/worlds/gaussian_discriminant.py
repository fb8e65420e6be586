"""W3: Gaussian classes with one covariance, where everything is a function of one separation a subset."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.info import (
    Decomposition,
    design_correlated,
    lda_equivocation,
    lda_error,
    lda_information,
    lda_separation,
    mmi_decomposition,
)
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task

from ._dials import names, per_modality
from ._inverse import bisected, feasible
from ._linear_gaussian import Answer, blackwell
from ._missing import Incomplete, Rates
from ._plug_in import first, legendre, plug_in_error
from ._signalling import Rule, signalling_accuracy, signalling_equivocation

BINARY = 2


@final
@dataclass(frozen=True)
class GaussianDiscriminant(Incomplete):
    r"""Equally likely classes with Gaussian inputs, each modality with a separation of its own.

    Two classes: :math:`x_m \mid y \sim N(\pm D_m e_1, I)`, labels 1 (+) and 0 (−), and :math:`D_S^2 = \mu_S^\top\Sigma_{SS}^{-1}\mu_S`.
    K > 2 classes: orthogonal signalling, :math:`x_m \mid y{=}k \sim N(\delta_m e_k, I)`, :math:`\delta_S^2` likewise.

    The two are different parametrisations: two orthogonal signals of amplitude δ would be two classes with D² = δ²/2.

    :param d2: squared separation of each modality, D_m² for two classes and δ_m² for more; 0 is a modality that knows nothing.
    :param rho: correlation between the noises of any two modalities along matching signal coordinates.
    :param dims: width of each modality, of which the first coordinate (two classes) or the first K carry signal; 0 means no more than these.
    :param classes: K.
    :param scale: factor on each modality's coordinates: how fast it is learnt, and nothing of what it knows. One value is meant for all.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain, or lengths that disagree.

    Source: derived here (textbook discriminant analysis).

    >>> round(GaussianDiscriminant(d2=(1.0, 0.36)).known("bayes_risk", {"a"}).middle, 8)
    0.15865525
    """

    name: ClassVar[str] = "gaussian-discriminant"
    task: ClassVar[Task] = "classification"

    d2: tuple[float, ...] = (0.64, 0.36)
    rho: float = 0.0
    dims: tuple[int, ...] = (0, 0)
    classes: int = 2
    scale: tuple[float, ...] = (1.0, 1.0)
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        count = len(names(len(self.d2), self.name))
        object.__setattr__(self, "dims", per_modality(self.dims, (0, 0), count, f"{self.name} dims"))
        object.__setattr__(self, "scale", per_modality(self.scale, (1.0, 1.0), count, f"{self.name} scale"))
        if not all(0 < c < math.inf for c in self.scale):
            raise ArgumentError(f"{self.name}: expected finite scale > 0, found {self.scale}")
        if self.classes < BINARY or min(self.d2) < 0 or not all(map(math.isfinite, self.d2)):
            raise ArgumentError(f"{self.name}: expected classes >= 2 and finite d2 >= 0, found {self.dials()}")
        if any(d != 0 and d < self.signals for d in self.dims):
            raise ArgumentError(
                f"{self.name}: expected dims 0 or at least the {self.signals} signal coordinates, found {self.dims}"
            )
        if not (-1 / max(count - 1, 1) < self.rho < 1):
            raise ArgumentError(f"{self.name}: expected rho in (-1/(M-1), 1), found {self.rho}")
        _ = self.rates

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.d2), self.name)

    @property
    def signals(self) -> int:
        """Signal coordinates of a modality: one for two classes, K otherwise."""
        return 1 if self.classes == BINARY else self.classes

    @property
    def widths(self) -> dict[str, int]:
        """Modality → number of its coordinates."""
        return {m: d or self.signals for m, d in zip(self.modalities, self.dims, strict=True)}

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...] | None = None,
        redundancy: float | None = None,
        unique: float = 0.0,
        synergy: float = 0.0,
        classes: int = 2,
        side: Literal["+", "-"] = "-",
    ) -> Self:
        """The world whose modalities have these informations, or the two-class, two-modality world with this decomposition.

        Unit: nat.

        :param information: I(x_m; y) of each modality, their noises independent.
        :param redundancy: R of two modalities; give this or ``information``.
        :param unique: U of modality ``a``.
        :param side: the larger (``+``) or smaller (``-``) of the two noise correlations that give this synergy.
        :raises InfeasibleError: a target outside [0, ln K), with that interval.
        :raises NotExactError: a decomposition for more than two classes.

        >>> world = GaussianDiscriminant.from_targets(redundancy=0.1, unique=0.2, synergy=0.05)
        >>> round(world.known("redundancy", {"a", "b"}).middle, 9)
        0.1
        """
        if (information is None) == (redundancy is None):
            raise ArgumentError("from_targets: expected either information or redundancy, found both or neither")
        if information is not None:
            return cls(d2=tuple(_separation(i, classes) for i in information), dims=(0,), classes=classes)
        if classes != BINARY:
            raise NotExactError(f"from_targets: expected two classes for a decomposition, found {classes}")
        low, high, rho = design_correlated(float(redundancy or 0.0), unique, synergy, law="lda", side=side)
        if not abs(rho) < 1:
            raise InfeasibleError(
                f"from_targets: expected U > 0 or side '-' beside R = {redundancy}, found U = {unique}, S = {synergy}"
            )
        return cls(d2=(high, low), rho=rho)

    @cached_property
    def noise(self) -> Tensor:
        """Correlation of the modalities' noises along matching signal coordinates, [M, M]."""
        count = len(self.d2)
        return (1 - self.rho) * torch.eye(count, dtype=torch.float64) + self.rho

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        y = draws.integers("class", self.classes, n)
        factor = torch.linalg.cholesky(self.noise).mT.to(draws.device)
        signal_noise = draws.normal("signal noise", n, self.signals, len(self.d2)) @ factor
        at = 2.0 * y[..., None] - 1 if self.classes == BINARY else torch.nn.functional.one_hot(y, self.classes).double()
        x: dict[str, Tensor] = {}
        for i, m in enumerate(self.modalities):
            x[m] = draws.normal(f"noise {m}", n, self.widths[m])
            x[m][..., : self.signals] = math.sqrt(self.d2[i]) * at + signal_noise[..., i]
            x[m] *= self.scale[i]
        return Batch(x, y)

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        total = math.log(self.classes)
        entropies: dict[str, Callable[[frozenset[str]], Interval]] = (
            {"trapezoid": self._equivocation, "estimation": self._equivocation_by_estimation}
            if self.classes == BINARY
            else {rule: partial(self._signalling_entropy, rule=rule) for rule in ("trapezoid", "adaptive")}
        )
        known: dict[tuple[str, str], Answer] = {
            ("bayes_risk", "separation"): self._risk,
            ("bayes_risk", "second separation"): partial(self._risk, second=True),
            ("label_entropy", "balance"): lambda _given: Interval.exact(total),
        }
        for route, entropy in entropies.items():
            known["posterior_entropy", route] = entropy
            known["information", route] = partial(self._information, entropy=entropy)
        if len(self.modalities) == 2:
            known |= blackwell(self.modalities, self.decomposition, self.complete_information)
        return known

    def separation2(self, given: Iterable[str], *, second: bool = False) -> float:
        r"""D_S² (two classes) or δ_S²: :math:`\mu_S^\top\Sigma_{SS}^{-1}\mu_S`.

        :param second: by the inverse of an equicorrelation matrix in closed form, instead of a solve.
        """
        at = [i for i, m in enumerate(self.modalities) if m in set(given)]
        mean = torch.tensor([math.sqrt(self.d2[i]) for i in at], dtype=torch.float64)
        if not at:
            return 0.0
        if second:
            total = float(mean.sum())
            return (float(mean @ mean) - self.rho * total**2 / (1 + (len(at) - 1) * self.rho)) / (1 - self.rho)
        return float(mean @ torch.linalg.solve(self.noise[at][:, at], mean))

    def decomposition(self, first: Iterable[str], second: Iterable[str]) -> Decomposition:
        """PID of y between two disjoint groups of modalities: the group with the smaller separation is a garbling of the other.

        :raises ArgumentError: groups that overlap.

        Source: derived here.
        """
        one, two = frozenset(first), frozenset(second)
        if one & two:
            raise ArgumentError(
                f"decomposition: expected disjoint groups, found {', '.join(sorted(one & two))} in both"
            )
        return mmi_decomposition(*(self.complete_information(s).middle for s in (one, two, one | two)))

    def complete_information(self, given: frozenset[str]) -> Interval:
        """I(x_S; y) of complete data."""
        entropy = self._equivocation if self.classes == BINARY else partial(self._signalling_entropy, rule="trapezoid")
        return self._information(given, entropy=entropy)

    def direction(self, given: Iterable[str]) -> Tensor:
        """Σ_SS⁻¹ times the class means: the weights whose products with x_S are the Bayes scores.

        Shape: [d_S] for two classes, [K, d_S] for more.
        """
        chosen = [(i, m) for i, m in enumerate(self.modalities) if m in set(given)]
        at = [i for i, _ in chosen]
        mean = torch.tensor([math.sqrt(self.d2[i]) for i in at], dtype=torch.float64)
        solved = torch.linalg.solve(self.noise[at][:, at], mean)
        blocks: list[Tensor] = []
        for weight, (i, m) in zip(solved, chosen, strict=True):
            block = torch.zeros(self.signals, self.widths[m], dtype=torch.float64)
            block.diagonal().fill_(float(weight) / self.scale[i])
            blocks.append(block)
        stacked = torch.cat(blocks, -1)
        return stacked[0] if self.classes == BINARY else stacked

    def posterior(self, x: Tensor, given: Iterable[str]) -> Tensor:
        """P(y = k | x_S) for each class k.

        Shape: x [*batch_shape, d_S] -> [*batch_shape, K].
        """
        scores = x @ self.direction(given).mT if self.classes > BINARY else x @ self.direction(given)
        if self.classes == BINARY:
            scores = torch.stack([-scores, scores], -1)
        return torch.softmax(scores, -1)

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        return self.posterior(torch.cat([x[m] for m in self.modalities if m in x], -1), x)

    def prior(self) -> Tensor:
        return torch.full((self.classes,), 1 / self.classes, dtype=torch.float64)

    def linear_risk(self, weights: Tensor, given: Iterable[str], *, bias: Tensor | float = 0.0) -> Tensor:
        r"""Exact 0–1 risk of the classifier 1[wᵀx_S + b > 0], two classes only.

        .. math:: \tfrac12\Phi(-(w^\top\mu+b)/s) + \tfrac12\Phi(-(w^\top\mu-b)/s), \qquad s^2 = w^\top\Sigma_{SS}w

        Shape: weights [*batch_shape, d_S], bias [*batch_shape] -> [*batch_shape].

        :raises NotExactError: more than two classes, where it is the normal measure of a polyhedral cone.
        """
        if self.classes != BINARY:
            raise NotExactError(
                f"{self.name}: expected two classes for a linear classifier's exact risk, found {self.classes}"
            )
        mean, cov = self.moments(given)
        s, drift = ((weights @ cov) * weights).sum(-1).sqrt(), weights @ mean
        return 0.5 * torch.special.ndtr(-(drift + bias) / s) + 0.5 * torch.special.ndtr(-(drift - bias) / s)

    def moments(self, given: Iterable[str]) -> tuple[Tensor, Tensor]:
        """μ_S of the class 1 and Σ_SS, two classes: [d_S] and [d_S, d_S]."""
        if self.classes != BINARY:
            raise NotExactError(f"{self.name}: expected two classes for one mean vector, found {self.classes}")
        chosen = [(i, self.widths[m]) for i, m in enumerate(self.modalities) if m in set(given)]
        starts = torch.tensor([0, *(w for _, w in chosen)]).cumsum(0)[:-1]
        at = [i for i, _ in chosen]
        d = sum(w for _, w in chosen)
        mean, cov = torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64)
        mean[starts] = torch.tensor([math.sqrt(self.d2[i]) for i in at], dtype=torch.float64)
        cov[starts[:, None], starts] = self.noise[at][:, at]
        c = torch.cat([torch.full((w,), self.scale[i], dtype=torch.float64) for i, w in chosen])
        return c * mean, c[:, None] * cov * c

    def plug_in_risk(self, n: int, given: Iterable[str]) -> Interval:
        """Expected error of the discriminant with known covariance whose mean is estimated from n samples (LDA-n), two classes.

        :raises NotExactError: more than two classes.
        """
        if self.classes != BINARY:
            raise NotExactError(f"{self.name}: expected two classes for the plug-in law, found {self.classes}")
        chosen = frozenset(given)
        dim = sum(self.widths[m] for m in chosen)
        return Interval.exact(plug_in_error(math.sqrt(self.separation2(chosen)), dim, n), 1e-9)

    def plug_in_crossover(self, fewer: Iterable[str], more: Iterable[str], *, most: int = 10**6) -> float:
        """The smallest n at which the plug-in discriminant of more modalities is at least as good; infinite beyond ``most``."""
        few, many = frozenset(fewer), frozenset(more)
        return first(lambda n: self.plug_in_risk(n, many).middle <= self.plug_in_risk(n, few).middle, most=most)

    def _rounding(self, d2: float) -> float:
        """Numerical error of a squared separation: a solve with an equicorrelation matrix of this condition."""
        eigenvalues = (1 - self.rho, 1 + (len(self.d2) - 1) * self.rho)
        return 32 * torch.finfo(torch.float64).eps * (1 + d2) * max(eigenvalues) / min(eigenvalues)

    def _risk(self, given: frozenset[str], *, second: bool = False) -> Interval:
        d2 = self.separation2(given, second=second)
        slack = self._rounding(d2)
        if self.classes == BINARY:
            low, high = (float(lda_error(max(0.0, d2 + s))) for s in (slack, -slack))
            return Interval(low, high + 1e-15)
        accuracy, error = signalling_accuracy(math.sqrt(d2), self.classes, rule="adaptive" if second else "trapezoid")
        return Interval.exact(1 - accuracy, error + slack)

    def _equivocation(self, given: frozenset[str]) -> Interval:
        d2 = self.separation2(given)
        return Interval.exact(float(lda_equivocation(d2)), 2e-14 + self._rounding(d2)).clipped(0.0, math.log(2))

    def _equivocation_by_estimation(self, given: frozenset[str]) -> Interval:
        r"""The other way: information is half the integral of the error of estimating y, :math:`\tfrac12\int_0^{D^2}\mathrm{mmse}(s)\,ds`.

        Source: Guo, Shamai and Verdú 2005 (known).
        """
        d2 = self.separation2(given, second=True)
        root, weight = legendre(0.0, math.sqrt(d2))  # in √s, so that neither end is steep
        z, z_weight = legendre(-12.0, 12.0, 400)
        mass = z_weight * torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        s = root[:, None] ** 2
        error = 2 * torch.sigmoid(-2 * (s + root[:, None] * z)) @ mass
        value = math.log(2) - float(weight @ (root * error))
        return Interval.exact(value, 1e-10 * (1 + d2) + self._rounding(d2)).clipped(0.0, math.log(2))

    def _signalling_entropy(self, given: frozenset[str], *, rule: Rule) -> Interval:
        amplitude = math.sqrt(self.separation2(given, second=rule == "adaptive"))
        value, error = signalling_equivocation(amplitude, self.classes, rule=rule)
        return Interval.exact(value, error + self._rounding(amplitude**2)).clipped(0.0, math.log(self.classes))

    def _information(self, given: frozenset[str], *, entropy: Answer) -> Interval:
        if self.classes == BINARY and entropy == self._equivocation:
            d2 = self.separation2(given)
            return Interval.exact(float(lda_information(d2)), 2e-14 + self._rounding(d2)).clipped(0.0, math.log(2))
        return (Interval.exact(math.log(self.classes)) - entropy(given)).clipped(0.0, math.log(self.classes))


def _separation(information: float, classes: int) -> float:
    """The squared separation with this information."""
    cap = math.log(classes)
    feasible("every information, nat,", information, 0.0, cap, attained=False)
    if classes == BINARY:
        return float(lda_separation(information))

    def reached(amplitude: float) -> float:
        return cap - signalling_equivocation(amplitude, classes)[0]

    return bisected(reached, information, 0.0, 12.0) ** 2 if information > 0 else 0.0
