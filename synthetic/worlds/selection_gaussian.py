"""W6: two Gaussian views of a sign, kept only when they agree with it; a law whose log-odds has intra and inter terms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar, Self, final

import torch
from scipy import optimize, special, stats
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError, NotExactError
from mmtheory.info import ChiDifference, lda_error, lda_information, mmi_decomposition, normal_softplus
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task

from ._linear_gaussian import blackwell
from ._missing import Incomplete, Rates

EXPERTS = ("a", "b", "inter")


@final
@dataclass(frozen=True)
class SelectionGaussian(Incomplete):
    r"""Two views of a sign s = ±1 (label 1 is +), selected by how well one, turned by sR, matches the other.

    .. math:: a|s \sim N(\kappa_1 s\mu, I), \quad b|s \sim N(\kappa_2 s\nu, I), \quad
        P(\text{kept}|a,b,s) = e^{-\frac{\lambda}{2}\|a - sRb\|^2}

    After selection the log-odds is :math:`2\kappa_1\mu^\top a + 2\kappa_2\nu^\top b + 2\lambda a^\top Rb` plus a constant, and classes
    are balanced (the prior undoes the selection). Each view alone has log-odds exactly linear: no collider bias. With ``collider`` the
    selection uses R, not sR: the inter term is then free of the label, and each view alone is biased by a known vector.

    Turned by R and rotated to :math:`u, w = (a \pm Rb)/\sqrt2`, the log-odds is a difference of two noncentral chi-squares, so
    everything here is exact for every κ, λ and dimension; only 0 < λ < 1e−4 with κ ≠ 0 is refused (cancellation).

    :param kappa: strength of each view's own evidence; 0 leaves only the interaction (pure synergy).
    :param lam: strength of the interaction; 0 is naive Bayes.
    :param dim: width of both views.
    :param alignment: :math:`\mu^\top R\nu`; 0 makes both signs equally likely to be kept. Must be ±1 if dim = 1 and both κ ≠ 0.
    :param collider: whether the selection ignores the label.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain.

    Source: Madaan et al. 2024, the graph of Section 3 (paper); this family derived here.

    >>> round(1 - SelectionGaussian(kappa=(0.0, 0.0)).known("bayes_risk", {"a", "b"}).middle, 6)
    0.804499
    """

    name: ClassVar[str] = "selection-gaussian"
    task: ClassVar[Task] = "classification"

    kappa: tuple[float, float] = (0.7, 0.4)
    lam: float = 1.0
    dim: int = 3
    alignment: float = 0.0
    collider: bool = False
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        if len(self.kappa) != 2 or not all(map(math.isfinite, self.kappa)) or not 0 <= self.lam < math.inf:
            raise ArgumentError(
                f"{self.name}: expected two finite kappa and lam >= 0, found {self.kappa} and {self.lam}"
            )
        if self.dim < 1 or not abs(self.alignment) <= 1:
            raise ArgumentError(
                f"{self.name}: expected dim >= 1 and |alignment| <= 1, found {self.dim} and {self.alignment}"
            )
        if self.dim == 1 and abs(self.alignment) != 1 and self.kappa[0] * self.kappa[1]:
            raise ArgumentError(f"{self.name}: expected alignment 1 or -1 in one dimension, found {self.alignment}")
        _ = self.rates

    @classmethod
    def from_targets(cls, *, synergy: float, dim: int = 3) -> Self:
        """The world of pure synergy (κ = 0) with this much of it, nat.

        :raises InfeasibleError: a synergy outside [0, ln 2).
        """
        if not 0 <= synergy < math.log(2):
            raise InfeasibleError(f"{cls.name}: expected a synergy in [0, ln 2), found {synergy}")

        def reached(log_lam: float) -> float:
            return cls(kappa=(0.0, 0.0), lam=math.exp(log_lam), dim=dim).known("information", "ab").middle - synergy

        low, high = math.log(1e-7), math.log(1e4)
        if synergy and not reached(low) < 0 < reached(high):
            ends = reached(low) + synergy, reached(high) + synergy
            raise InfeasibleError(
                f"{cls.name}: expected a synergy of 0 or in [{ends[0]:g}, {ends[1]:g}], found {synergy}"
            )
        lam = math.exp(optimize.root_scalar(reached, bracket=(low, high), xtol=1e-13).root) if synergy else 0.0
        return cls(kappa=(0.0, 0.0), lam=lam, dim=dim)

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b")

    @cached_property
    def rotation(self) -> Tensor:
        """R [dim, dim]: the reversal of the coordinates."""
        return torch.eye(self.dim, dtype=torch.float64).flip(0)

    @cached_property
    def directions(self) -> tuple[Tensor, Tensor]:
        """μ, the first axis, and ν, whose image Rν has the stated alignment with μ."""
        mu, turned = torch.zeros(2, self.dim, dtype=torch.float64)
        mu[0] = 1.0
        turned[0] = self.alignment
        if self.dim > 1:
            turned[1] = math.sqrt(1 - self.alignment**2)
        elif not self.alignment:
            turned[0] = 1.0  # one κ is 0, so the direction is arbitrary
        return mu, self.rotation.T @ turned

    def precision(self, sign: int) -> Tensor:
        """Λ of the pair (a, b) given the sign, after selection, [2·dim, 2·dim]."""
        turn = self.rotation * (1 if self.collider else sign) * self.lam
        eye = (1 + self.lam) * torch.eye(self.dim, dtype=torch.float64)
        return torch.cat([torch.cat([eye, -turn], 1), torch.cat([-turn.T, eye], 1)])

    def moments(self, sign: int) -> tuple[Tensor, Tensor]:
        """Mean and covariance of the pair (a, b) given the sign, after selection."""
        mu, nu = self.directions
        shift = sign * torch.cat([self.kappa[0] * mu, self.kappa[1] * nu])
        covariance = torch.linalg.inv(self.precision(sign))
        return covariance @ shift, (covariance + covariance.T) / 2

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        noise = draws.normal("noise", n, 2 * self.dim)
        label = draws.integers("label", 2, n)
        sides = [self.moments(sign) for sign in (-1, 1)]
        means = torch.stack([m for m, _ in sides]).to(draws.device)
        factors = [torch.linalg.cholesky(c).to(draws.device) for _, c in sides]
        both = torch.where(label[..., None] == 1, noise @ factors[1].T, noise @ factors[0].T) + means[label]
        return Batch({"a": both[..., : self.dim], "b": both[..., self.dim :]}, label)

    @property
    def offset(self) -> float:
        """The constant of the joint log-odds (0 unless the two views' own evidence is aligned)."""
        if self.collider:
            return 0.0
        return -2 * self.kappa[0] * self.kappa[1] * self._cosine * self.lam / (1 + 2 * self.lam)

    @property
    def _cosine(self) -> float:
        """μᵀRν as the directions have it."""
        return float(self.directions[0] @ (self.rotation @ self.directions[1]))

    def terms(self, x: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The three experts' log-odds at these points: ``a``, ``b``, ``inter``, each [...].

        Their sum with ``offset`` is the exact log-odds of label 1; a term needs only the views it reads.

        :raises ArgumentError: a missing view.
        """
        if missing := set(self.modalities) - set(x):
            raise ArgumentError(f"{self.name}: expected both views, found no {', '.join(sorted(missing))}")
        mu, nu = self.directions
        inter = 2 * self.lam * ((x["a"] @ self.rotation) * x["b"]).sum(-1)
        return {
            "a": 2 * self.kappa[0] * (x["a"] @ mu),
            "b": 2 * self.kappa[1] * (x["b"] @ nu),
            "inter": inter * (0 if self.collider else 1),
        }

    def log_odds(self, x: Mapping[str, Tensor]) -> Tensor:
        """ln P(label 1 | the views given) − ln P(label 0 | …), exact for one view and for two."""
        if len(x) == 2:
            return sum(self.terms(x).values(), torch.tensor(self.offset, dtype=torch.float64))
        (view,) = x
        slope, constant = self.unimodal(view)
        return x[view] @ slope + constant

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        odds = self.log_odds(x)
        return torch.sigmoid(torch.stack([-odds, odds], -1))

    def prior(self) -> Tensor:
        return torch.full((2,), 0.5, dtype=torch.float64)

    def unimodal(self, view: str) -> tuple[Tensor, float]:
        r"""Slope and constant of the log-odds given one view alone, on the selected data.

        .. math:: 2\kappa_1\mu + [\text{collider}]\; \tfrac{2\lambda}{1+\lambda}\kappa_2 R\nu \quad (\text{and likewise for } b)

        The second part is the collider's bias. The constant is 0 unless alignment couples the views.
        """
        mu, nu = self.directions
        own, other = (mu, self.rotation @ nu) if view == "a" else (nu, self.rotation.T @ mu)
        mine, theirs = self.kappa if view == "a" else self.kappa[::-1]
        pull = self.lam / (1 + self.lam) * theirs
        if self.collider:
            return 2 * (mine * own + pull * other), 0.0
        # Selection moves both classes of this view by one vector, so the midpoint is not the origin.
        centre = self.lam * theirs / (1 + 2 * self.lam) * other
        return 2 * mine * own, -2 * mine * float(own @ centre)

    def separation(self, given: Iterable[str]) -> float:
        """D² of the law given these views, where both classes share a covariance.

        :raises NotExactError: both views of an interacting law, whose two covariances differ.
        """
        views = frozenset(given)
        if len(views) == 2:
            if self.lam and not self.collider:
                raise NotExactError(f"{self.name}: expected one view, lam = 0 or the collider, found {self.label()}")
            (u, w) = self._strengths
            return u**2 + w**2 / (1 + 2 * self.lam)
        slope = self.unimodal(next(iter(views)))[0] / 2 if views else torch.zeros(1)
        return float(slope @ slope) * (1 + self.lam) / (1 + 2 * self.lam)

    @property
    def _strengths(self) -> tuple[float, float]:
        """‖κ₁μ ± κ₂Rν‖/√2, the evidence along u and along w."""
        one, two = self.kappa
        cross = 2 * one * two * self._cosine
        return math.sqrt(max(0.0, one**2 + two**2 + cross) / 2), math.sqrt(max(0.0, one**2 + two**2 - cross) / 2)

    def cross_entropy(self, experts: Iterable[str] = EXPERTS) -> Interval:
        """Population cross-entropy of the sum of these experts' terms (and the offset), nat; all three give H(y | a, b).

        :param experts: among ``a``, ``b``, ``inter``; none gives the prior.
        :raises ArgumentError: another expert.
        """
        used = frozenset(experts)
        if not used <= set(EXPERTS):
            raise ArgumentError(f"{self.name}: expected experts among {', '.join(EXPERTS)}, found {sorted(used)}")
        return (self.given_sign(used, 1, softplus=True) + self.given_sign(used, -1, softplus=True)) * 0.5

    def given_sign(self, used: frozenset[str], sign: int, *, softplus: bool) -> Interval:
        """E ln(1 + e^{−sL}) given the sign s (or P(sL < 0)), for L the sum of the experts used."""
        plane = torch.stack([self.directions[0], self.rotation @ self.directions[1]])
        weight = torch.tensor([k if m in used else 0.0 for k, m in zip(self.kappa, "ab", strict=True)]).double()
        turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / math.sqrt(2)
        own = turn @ (torch.tensor(self.kappa, dtype=torch.float64)[:, None] * plane)
        read = turn @ (weight[:, None] * plane)
        # Given the sign, the wide block (u for +, w for −) has unit variance and the narrow one 1/(1 + 2λ).
        wide, narrow = (1, 0) if sign < 0 and not self.collider else (0, 1)
        thin = 1 + 2 * self.lam
        lam = self.lam if "inter" in used and not self.collider else 0.0
        if not lam:
            mean = 2 * float(read[wide] @ own[wide] + read[narrow] @ own[narrow] / thin) + sign * self.offset
            sd = 2 * math.sqrt(float(read[wide] @ read[wide] + read[narrow] @ read[narrow] / thin))
            if softplus:
                return normal_softplus(mean, sd)
            return Interval.exact(special.ndtr(-mean / sd) if sd else 0.5, 1e-14)
        if lam < 1e-4 and any(self.kappa):
            raise NotExactError(f"{self.name}: expected lam = 0 or lam >= 1e-4 beside kappa != 0, found lam = {lam}")
        constant = sign * self.offset + float(read[narrow] @ read[narrow] - read[wide] @ read[wide]) / lam
        first = float(torch.linalg.vector_norm(own[wide] + read[wide] / lam))
        second = float(torch.linalg.vector_norm(own[narrow] / thin - read[narrow] / lam)) * math.sqrt(thin)
        law = ChiDifference(self.dim, lam, lam / thin, constant, first, second)
        return law.softplus() if softplus else law.negative()

    def exact_complete(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        known: dict[tuple[str, str], Callable[[frozenset[str]], Interval]] = {
            ("bayes_risk", "noncentral chi"): self._risk,
            ("information", "noncentral chi"): self._information,
            ("label_entropy", "balanced"): lambda _given: Interval.exact(math.log(2), 1e-15),
            ("posterior_entropy", "noncentral chi"): self._equivocation,
        }
        shifts = [s * (1 + 1 / self.lam) for s in self._strengths] if self.lam else [math.inf]
        if not self.collider and self.offset == 0 and max(shifts) ** 2 < 400:
            known["bayes_risk", "poisson mixture"] = self._mixture
        return known | blackwell(self.modalities, self._decomposition, self._information)

    def _risk(self, given: frozenset[str]) -> Interval:
        """Φ(−D) where the classes share a covariance, else the mean over the signs of P(sL < 0)."""
        if len(given) == 2 and self.lam and not self.collider:
            return _joint(self)[0]
        return Interval.exact(float(lda_error(self.separation(given))), 1e-14)

    def _equivocation(self, given: frozenset[str]) -> Interval:
        if len(given) == 2 and self.lam and not self.collider:
            return _joint(self)[1]
        return math.log(2) + -self._information(given)

    def _information(self, given: frozenset[str]) -> Interval:
        if len(given) == 2 and self.lam and not self.collider:
            return (math.log(2) + -_joint(self)[1]).clipped(0.0, math.log(2))
        return Interval.exact(float(lda_information(self.separation(given))), 1e-13)

    def _mixture(self, given: frozenset[str]) -> Interval:
        """The joint risk as a doubly noncentral F: two Poisson mixtures of beta probabilities; a single view by its moments."""
        if len(given) < 2:
            index = [i for i in range(2 * self.dim) if ("a" if i < self.dim else "b") in given]
            (low, _), (high, cov) = self.moments(-1), self.moments(1)
            half = (high - low)[index] / 2
            return Interval.exact(float(lda_error(half @ torch.linalg.solve(cov[index][:, index], half))), 1e-12)
        sides = [_doubly_noncentral(self, wide, narrow) for wide, narrow in (self._strengths, self._strengths[::-1])]
        return Interval.exact(sum(sides) / 2, 1e-11)

    def _decomposition(self, one: frozenset[str], two: frozenset[str]):  # noqa: ANN202
        """Exact for every dial: given the label each view alone is two Gaussians of one covariance, so one garbles the other."""
        first, second, both = (self._information(s).middle for s in (one, two, one | two))
        return mmi_decomposition(first, second, max(first, second, both))

    def answers(self) -> Mapping[str, Interval]:
        entropy = self.cross_entropy()
        bias = 2 * self.lam / (1 + self.lam) if self.collider else 0.0
        return {
            "intra excess": self.cross_entropy(("a", "b")) - entropy,
            "inter excess": self.cross_entropy(("inter",)) - entropy,
            "unimodal bias of a": Interval.exact(bias * abs(self.kappa[1])),
            "unimodal bias of b": Interval.exact(bias * abs(self.kappa[0])),
        }


@lru_cache(maxsize=256)
def _joint(world: SelectionGaussian) -> tuple[Interval, Interval]:
    """Bayes risk and equivocation given both views of an interacting law."""
    used = frozenset(EXPERTS)
    sides = [world.given_sign(used, s, softplus=flag) for flag in (False, True) for s in (1, -1)]
    return (sides[0] + sides[1]) * 0.5, (sides[2] + sides[3]) * 0.5


def _doubly_noncentral(world: SelectionGaussian, wide: float, narrow: float) -> float:
    """P(χ'² < χ'²/(1 + 2λ)) with the noncentralities of one sign."""
    lam, half = world.lam, world.dim / 2
    one, two = (wide * (1 + 1 / lam)) ** 2 / 2, (narrow * (1 + lam) / lam) ** 2 / (1 + 2 * lam) / 2
    weights = []
    for mean in (one, two):
        top = torch.arange(int(mean + 12 * math.sqrt(mean) + 30), dtype=torch.float64).numpy()
        weights.append((top, stats.poisson.pmf(top, mean)))
    (j, p), (k, q) = weights
    # χ'²_first < χ'²_second/(1+2λ)  ⇔  B = first/(first + second) < 1/(2 + 2λ), and B is beta given the two counts.
    table = special.betainc(half + j[:, None], half + k[None, :], 1 / (2 + 2 * lam))
    return float(p @ table @ q)
