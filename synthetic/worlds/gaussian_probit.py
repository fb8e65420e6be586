"""W2: the sign of a linear-Gaussian score, where every Bayes error is an angle."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar, Self, final

import torch
from scipy import integrate, special
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.info import Decomposition, mmi_decomposition
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task

from ._gaussian_learners import GaussianLaw
from ._inverse import feasible, inverse
from ._linear_gaussian import Answer, LinearGaussian, blackwell
from ._missing import Incomplete, Rates
from .gaussian_regression import GaussianRegression
from .latent_regression import LatentRegression, Matrix


class Probit(Incomplete):
    r"""y = 1 where the score s of a linear-Gaussian world is positive, else 0.

    .. math:: r^*(S) = \arccos(\rho_S)/\pi, \quad \rho_S^2 = \mathrm{Var}(E[s|x_S])/\mathrm{Var}(s), \quad P(y=1|x_S) = \Phi(\mu_S/\sqrt{v_S})

    Source: derived here (orthant probabilities are Sheppard's).
    """

    task: ClassVar[Task] = "classification"

    @cached_property
    @abstractmethod
    def score(self) -> LinearGaussian:
        """The regression world whose target is s."""

    @property
    def law(self) -> GaussianLaw:
        """The law of the inputs and the score."""
        return self.score.law

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.score.modalities

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        batch = self.score.draw_complete(n, draws)
        return replace(batch, y=(batch.y > 0).to(torch.int64))

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        known: dict[tuple[str, str], Answer] = {
            ("bayes_risk", "angle"): self._angle,
            ("bayes_risk", "quadrature"): self._least_error,
            ("information", "trapezoid"): partial(self._information, route="trapezoid"),
            ("information", "adaptive"): partial(self._information, route="adaptive"),
            ("posterior_entropy", "trapezoid"): partial(self._entropy, route="trapezoid"),
            ("posterior_entropy", "adaptive"): partial(self._entropy, route="adaptive"),
            ("label_entropy", "balance"): lambda _given: Interval.exact(math.log(2)),
        }
        if len(self.modalities) == 2:
            known |= blackwell(self.modalities, self.decomposition, partial(self._information, route="trapezoid"))
        return known

    def correlation(self, given: Iterable[str]) -> Interval:
        """ρ_S between the score and its best prediction from x_S."""
        risk, total = self.law.risk(given), self.law.variance
        return Interval(*(math.sqrt(max(0.0, 1 - r / total)) for r in (risk.high, risk.low)))

    def decomposition(self, first: Iterable[str], second: Iterable[str]) -> Decomposition:
        """PID of y between two groups of modalities: a garbling about the score is one about its sign."""
        one, two = frozenset(first), frozenset(second)
        self.law.decomposition(one, two)
        return mmi_decomposition(*(self._information(s).middle for s in (one, two, one | two)))

    def posterior(self, x: Tensor, given: Iterable[str]) -> Tensor:
        """P(y = 1 | x_S).

        Shape: x [*batch_shape, d_S] -> [*batch_shape].
        """
        return torch.special.ndtr(x @ self.law.coefficients(given) / math.sqrt(self.law.risk(given).middle))

    def linear_risk(self, weights: Tensor, given: Iterable[str], *, threshold: Tensor | float = 0.0) -> Tensor:
        r"""Exact 0–1 risk of the classifier 1[ŵᵀx_S > threshold].

        .. math:: \tfrac12 - 2\,T\!\left(\beta, \tfrac{c}{\sqrt{1-c^2}}\right), \qquad T \text{ Owen's function}

        with β the threshold in standard deviations of ŵᵀx and c its correlation with s; at β = 0 this is arccos(c)/π.

        Shape: weights [*batch_shape, d_S], threshold [*batch_shape] -> [*batch_shape].

        Source: derived here.
        """
        cov, cross = self.law.block(given)
        spread = ((weights @ cov) * weights).sum(-1).sqrt()
        c = (weights @ cross) / spread / math.sqrt(self.law.variance)
        beta = torch.as_tensor(threshold, dtype=torch.float64) / spread
        return 0.5 - 2 * torch.as_tensor(special.owens_t(beta.numpy(), (c / (1 - c**2).sqrt()).numpy()))

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        yes = self.posterior(torch.cat([x[m] for m in self.modalities if m in x], -1), x)
        return torch.stack([1 - yes, yes], -1)

    def prior(self) -> Tensor:
        return torch.full((2,), 0.5, dtype=torch.float64)

    def _information(self, given: frozenset[str], *, route: str = "trapezoid") -> Interval:
        return Interval.exact(math.log(2)) - self._entropy(given, route=route)

    def _angle(self, given: frozenset[str]) -> Interval:
        rho = self.correlation(given)
        return Interval(math.acos(min(rho.high, 1.0)) / math.pi, math.acos(min(rho.low, 1.0)) / math.pi)

    def _slope(self, given: frozenset[str]) -> float:
        """Standard deviation of the probit μ_S/√v_S; 0 when nothing is known."""
        risk = self.law.risk(given).middle
        return math.sqrt(max(0.0, self.law.variance - risk) / risk) if given else 0.0

    def _least_error(self, given: frozenset[str]) -> Interval:
        """E min(P, 1 − P), the second route to the Bayes error."""
        a = self._slope(given)
        value, error = integrate.quad(
            lambda t: 2 * special.ndtr(-a * t) * math.exp(-t * t / 2) / math.sqrt(2 * math.pi), 0, _reach(a), epsabs=1e-12, epsrel=1e-12, limit=400
        )  # fmt: skip
        return Interval.exact(value, error + 1e-12 + self.law.risk(given).width)

    def _entropy(self, given: frozenset[str], *, route: str) -> Interval:
        """E h(Φ(T)), T ~ N(0, ρ²/(1 − ρ²))."""
        a = self._slope(given)
        if route == "trapezoid":
            # Analytic in a strip about the real line whose width shrinks with the slope: the step follows it.
            step = 0.05 / max(1.0, a)
            t = torch.arange(0, _reach(a), step, dtype=torch.float64)
            cells = _cell_entropy(a * t) * torch.exp(-t * t / 2) / math.sqrt(2 * math.pi)
            return Interval.exact(float(2 * cells.sum() - cells[0]) * step, 1e-12 + self.law.risk(given).width).clipped(
                0, math.log(2)
            )
        value, error = integrate.quad(
            lambda t: 2 * float(_cell_entropy(torch.tensor(a * t, dtype=torch.float64))) * math.exp(-t * t / 2) / math.sqrt(2 * math.pi),
            0, _reach(a), epsabs=1e-12, epsrel=1e-12, limit=400,
        )  # fmt: skip
        return Interval.exact(value, error + 1e-11 + self.law.risk(given).width).clipped(0, math.log(2))


def _reach(slope: float) -> float:
    """Beyond this t neither the density nor the cell of a probit with this slope is above 1e−30."""
    return min(12.0, 40.0 / max(slope, 1e-300))


def _cell_entropy(t: Tensor) -> Tensor:
    """Binary entropy of Φ(t), safe in the tails."""
    p, log_p, log_q = torch.special.ndtr(t), torch.special.log_ndtr(t), torch.special.log_ndtr(-t)
    return -p * log_p - torch.special.ndtr(-t) * log_q


@final
@dataclass(frozen=True)
class GaussianProbit(Probit):
    r"""The sign of the scalar-latent regression's target, with the same dials.

    :param snr: signal-to-noise ratio of each modality; 0 is a modality that knows nothing.
    :param dims: width of each modality; the coordinates beyond the first are pure noise. One value is meant for all.
    :param scale: c_m, the speed dial. One value is meant for all.
    :param label_noise: σ_y² of the score before its sign is taken, 0 for none.
    :param rho: correlation between the noises of any two modalities.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: as :class:`GaussianRegression`.

    Source: derived here.

    >>> round(GaussianProbit(snr=(3.0, 1.0), label_noise=0.1).known("bayes_risk", {"a"}).middle, 6)
    0.190768
    """

    name: ClassVar[str] = "gaussian-probit"

    snr: tuple[float, ...] = (3.0, 1.0)
    dims: tuple[int, ...] = (1, 1)
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    rho: float = 0.0
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", self.score.dims)
        object.__setattr__(self, "scale", self.score.scale)
        _ = self.rates

    @cached_property
    def score(self) -> GaussianRegression:
        return GaussianRegression(self.snr, self.dims, self.scale, self.label_noise, self.rho)

    @classmethod
    def from_targets(cls, *, information: tuple[float, ...], label_noise: float = 0.0) -> Self:
        """The world whose modalities have these informations about the class, their noises independent.

        Unit: nat.

        :raises InfeasibleError: an information outside what this label noise leaves, with the feasible interval.

        >>> world = GaussianProbit.from_targets(information=(0.3, 0.1))
        >>> round(world.known("information", {"b"}).middle, 9)
        0.1
        """

        return cls(tuple(_strength(i, label_noise) for i in information), label_noise=label_noise)


@final
@dataclass(frozen=True)
class LatentProbit(Probit):
    """The sign of the general linear-Gaussian target, with the dials of :class:`LatentRegression`.

    :param loadings: A_m as rows, one matrix a modality.
    :param weights: w.
    :param noise: covariance of all coordinates' noises; () is white noise.
    :param scale: c_m, the speed dial.
    :param label_noise: σ_y² of the score before its sign is taken.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: as :class:`LatentRegression`.

    >>> round(LatentProbit(loadings=(((3.0**0.5,),),), weights=(1.0,)).known("bayes_risk", {"a"}).middle, 6)
    0.190768
    """

    name: ClassVar[str] = "latent-probit"

    loadings: tuple[Matrix, ...] = (((1.0, 1.0, 0.0),), ((1.0, 0.0, 1.0),))
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    noise: Matrix = ()
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", self.score.scale)
        _ = self.rates

    @cached_property
    def score(self) -> LatentRegression:
        return LatentRegression(self.loadings, self.weights, self.noise, self.scale, self.label_noise)

    @classmethod
    def from_targets(cls, *, information: tuple[float, ...], share: float = 0.5, label_noise: float = 0.1) -> Self:
        """The world of shared and private latents whose modalities have these informations about the class.

        Unit: nat.

        :param share: part of the score's variance that all modalities see, the rest being private to one each.
        :raises InfeasibleError: an information outside what the share and the label noise leave, with the feasible interval.

        >>> round(LatentProbit.from_targets(information=(0.2, 0.1)).known("information", {"a"}).middle, 9)
        0.2
        """
        ceiling = 0.5 * math.log((1 + label_noise) / (1 + label_noise - share - (1 - share) / len(information)))
        cap = GaussianProbit((math.expm1(2 * ceiling),), label_noise=0.0).known("information", "a").middle
        for i in information:
            feasible("every information, nat,", i, 0.0, cap, attained=False)
        about_score = tuple(0.5 * math.log1p(_strength(i, 0.0)) for i in information)
        score = LatentRegression.from_targets(information=about_score, share=share, label_noise=label_noise)
        return cls(score.loadings, score.weights, (), (1.0,), label_noise)


def _strength(information: float, label_noise: float) -> float:
    """The snr at which one modality has this information about the class."""

    def reached(log_snr: float) -> float:
        return GaussianProbit((math.exp(log_snr),), label_noise=label_noise).known("information", ("a",)).middle

    feasible("every information, nat,", information, 0.0, reached(25.0), attained=False)
    if information <= 1e-15:
        return 0.0
    return math.exp(inverse(reached, information, -40.0, 25.0, what="every information, nat,"))
