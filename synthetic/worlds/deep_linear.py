"""W8: two linear modalities whose deep linear fusion network learns one after the other, at times known in advance."""

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

from .phase_laws import Moments, checked, scalar_moments
from .rank_one import rank_one_passages

ROUNDING = 1e-12


@final
@dataclass(frozen=True)
class DeepLinear(World):
    r"""A linear target of two correlated Gaussian modalities, and the deep linear fusion network that is trained on it.

    .. math:: x_a \sim N(0,\kappa^2),\; x_b \sim N(0,1),\; \mathrm{corr} = \rho,\qquad y = w_a x_a + w_b x_b + \sigma_y\eta

    Risk and information say what the modalities are worth; the phase times say when a network of ``depth`` layers, fused after
    ``fusion_layer``, gets to use them: late fusion learns the modality of larger ‖Σ_ym‖ first and alone, and meanwhile credits it with
    the other's share. The theory is about two modalities; ``covariance`` gives them any number of coordinates.

    :param kappa: standard deviation of a (b has 1): the speed of learning it. Below 1 b is learnt first.
    :param rho: correlation of the modalities; 0 is no competition at all.
    :param depth: L, layers of the network.
    :param fusion_layer: L_f, last layer that belongs to one modality: 1 is early fusion, L late fusion.
    :param u0: norm of every layer at the start.
    :param weights: w, first a's coordinates, then b's.
    :param label_noise: variance of the label noise, 0 for none (then both modalities together know y entirely).
    :param dims: coordinates of a and of b.
    :param covariance: of the stacked (x_a, x_b), row by row; () is the scalar law of ``kappa`` and ``rho``.
    :raises ArgumentError: a dial out of its domain.

    Source: Zhang, Latham and Saxe 2024, §3–4 (code).

    >>> DeepLinear(kappa=2.0, rho=0.5).answers()["phase_ratio"].middle
    5.0
    """

    name: ClassVar[str] = "deep-linear"
    task: ClassVar[Task] = "regression"

    kappa: float = 2.0
    rho: float = 0.0
    depth: int = 2
    fusion_layer: int = 2
    u0: float = 1e-6
    weights: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.0
    dims: tuple[int, int] = (1, 1)
    covariance: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not (self.kappa > 0 and -1 < self.rho < 1 and self.label_noise >= 0):
            raise ArgumentError(
                f"{self.name}: expected kappa > 0, rho in (-1, 1), label_noise >= 0, "
                f"found {self.kappa}, {self.rho}, {self.label_noise}"
            )
        checked(self.depth, self.fusion_layer, torch.tensor(self.u0))
        if len(self.dims) != 2 or min(self.dims) < 1 or len(self.weights) != sum(self.dims):
            raise ArgumentError(
                f"{self.name}: expected two dims and one weight a coordinate, found {self.dims} and {len(self.weights)}"
            )
        self._check_covariance()

    def _check_covariance(self) -> None:
        """Given exactly when there is more than the scalar law, square, symmetric and positive definite."""
        d = sum(self.dims)
        if not self.covariance:
            if d != 2:
                raise ArgumentError(f"{self.name}: expected a covariance for dims {self.dims}, found none")
            return
        if (self.kappa, self.rho) != (2.0, 0.0):
            raise ArgumentError(f"{self.name}: expected kappa and rho untouched beside a covariance, found both")
        if len(self.covariance) != d or any(len(row) != d for row in self.covariance):
            raise ArgumentError(f"{self.name}: expected a covariance {d} by {d}, found {len(self.covariance)} rows")
        matrix = torch.tensor(self.covariance, dtype=torch.float64)
        least = float(torch.linalg.eigvalsh((matrix + matrix.T) / 2)[0])
        if not (bool((matrix - matrix.T).abs().max() <= ROUNDING * matrix.abs().max()) and least > 0):
            raise ArgumentError(
                f"{self.name}: expected a symmetric positive definite covariance, found least eigenvalue {least}"
            )

    @classmethod
    def from_targets(cls, phase_ratio: float, misattribution: float = 0.0) -> Self:
        r"""The late-fusion world with this ratio t_b/t_a and this mis-attribution.

        .. math:: \kappa^2 = \frac{r}{1+(r-1)m^2}, \qquad \rho = m\kappa

        :raises InfeasibleError: outside ratio >= 1, |misattribution| < 1.

        >>> DeepLinear.from_targets(5.0, 0.25).rho
        0.5
        """
        if not (phase_ratio >= 1 and abs(misattribution) < 1):
            raise InfeasibleError(
                f"{cls.name}: expected phase_ratio in [1, inf) and misattribution in (-1, 1), "
                f"found {phase_ratio} and {misattribution}"
            )
        kappa = math.sqrt(phase_ratio / (1 + (phase_ratio - 1) * misattribution**2))
        return cls(kappa=kappa, rho=misattribution * kappa)

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a", "b")

    @cached_property
    def moments(self) -> Moments:
        """Second moments of the population, the only thing that gradient descent on it depends on."""
        if not self.covariance:
            return scalar_moments(self.kappa, self.rho, (self.weights[0], self.weights[1]))
        matrix = torch.tensor(self.covariance, dtype=torch.float64)
        return Moments(matrix, matrix @ torch.tensor(self.weights, dtype=torch.float64), self.dims)

    def draw(self, n: int, draws: Draws) -> Batch:
        factor = torch.linalg.cholesky(self.moments.covariance).to(draws.device)
        x = draws.normal("x", n, sum(self.dims)) @ factor.T
        y = x @ torch.tensor(self.weights, dtype=torch.float64, device=draws.device)
        a, b = x.split(self.dims, dim=-1)
        return Batch({"a": a, "b": b}, y + math.sqrt(self.label_noise) * draws.normal("label noise", n))

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {
            ("bayes_risk", "schur"): partial(self._risk, route="schur"),
            ("bayes_risk", "precision"): partial(self._risk, route="precision"),
            ("information", "variance ratio"): self._information,
            **{(q, "degraded copy"): partial(self._atom, name=q) for q in ("redundancy", "unique", "synergy")},
        }

    @property
    def _variance(self) -> float:
        """Var y."""
        return float(self.moments.cross @ torch.tensor(self.weights, dtype=torch.float64)) + self.label_noise

    def _risk(self, given: frozenset[str], *, route: str) -> Interval:
        """Var(y | x_S): by the Schur complement, or as wᵀ((Σ⁻¹)_TT)⁻¹w over the coordinates T that are not given."""
        sigma, w = self.moments.covariance, torch.tensor(self.weights, dtype=torch.float64)
        place = torch.tensor([m in given for m, d in zip("ab", self.dims, strict=True) for _ in range(d)])
        off = ~place
        if not bool(off.any()):
            return Interval.exact(self.label_noise)
        if route == "precision":
            left = float(w[off] @ torch.linalg.solve(torch.linalg.inv(sigma)[off][:, off], w[off]))
        else:
            fit = torch.linalg.solve(sigma[place][:, place], sigma[place][:, off]) if bool(place.any()) else None
            rest = sigma[off][:, off] - (sigma[off][:, place] @ fit if fit is not None else 0)
            left = float(w[off] @ rest @ w[off])
        return Interval.exact(self.label_noise + left, ROUNDING * self._error_scale)

    @cached_property
    def _error_scale(self) -> float:
        """What rounding is relative to: Var y times the condition number of Σ, at least 1."""
        return max(1.0, self._variance * float(torch.linalg.cond(self.moments.covariance)))

    def _information(self, given: frozenset[str]) -> Interval:
        """½ ln(Var y / Var(y|x_S)); infinite for both modalities without label noise."""
        risk = self._risk(given, route="schur")
        if risk.high <= 0:
            return Interval(math.inf, math.inf)
        total = self._variance
        high = 0.5 * math.log(total / risk.low) if risk.low > 0 else math.inf
        return Interval(max(0.0, 0.5 * math.log(total / risk.high)), max(0.0, high))

    def _atom(self, given: frozenset[str], *, name: str) -> Interval:
        """The less informed modality is a degraded copy of the other as far as y goes, so R = min I_m (scalar Gaussian target)."""
        if len(given) != (1 if name == "unique" else 2):
            raise ArgumentError(
                f"{name}: expected {'one' if name == 'unique' else 'both'} of the modalities, found {sorted(given)}"
            )
        poor, rich = sorted((self._information(frozenset(m)) for m in "ab"), key=lambda side: side.middle)
        if name == "redundancy":
            return poor
        found = self._information(given) - (poor if name == "unique" else rich)
        return Interval(max(0.0, found.low), max(0.0, found.high))

    def answers(self) -> Mapping[str, Interval]:
        r"""When each modality is learnt, and what it is credited with meanwhile.

        ``phase_time_*``, ``phase_ratio`` = t_b/t_a: the laws of leading order in u₀, time in 1/learning rate (infinite: never);
        ``passage_time_*``, ``passage_ratio``: at this very u₀, first passage of half the plateau in the rank-one dynamics, by a stiff
        solver with the stated error (scalar modalities); ``misattribution``: of the modality learnt first, its norm if it is no scalar;
        ``contribution_*``: loss removed by a modality alone; ``slow_down``: of the later modality by the earlier one's presence, late
        fusion. A modality that never starts to move (Σ_ym = 0) leaves only the last two groups.
        """
        first, order = (self.moments, "ab") if bool(self.moments.first()) else (self.moments.swapped(), "ba")
        if self.kappa == 1 and not self.covariance and abs(self.weights[0]) == abs(self.weights[1]):
            first, order = self.moments, "ab"
        start = float(first.first_time(self.depth, self.fusion_layer, self.u0))
        ratio = float(first.ratio(self.depth, self.fusion_layer, self.u0))
        found = {f"phase_time_{order[0]}": start, f"phase_time_{order[1]}": start * ratio}
        found["phase_ratio"] = ratio if order == "ab" else 1 / ratio
        stray = first.misattribution()
        found["misattribution"] = float(stray if stray.numel() == 1 else stray.norm())
        for m, letter in enumerate("ab"):
            found[f"contribution_{letter}"] = float(self.moments.target(m) @ self.moments.alone(m)) / 2
        speeds = [float(first.target(m).norm()) for m in (0, 1)]
        if self.fusion_layer == self.depth:
            found["slow_down"] = float(first.late_ratio()) * speeds[1] / speeds[0]
        sure = {name: _enclosed(value) for name, value in found.items()}
        return {**sure, **self._passages(first, order)}

    def _passages(self, first: Moments, order: str) -> dict[str, Interval]:
        """The rank-one dynamics where they are those of the network: scalars, and a start aligned with both phases."""
        try:
            one, other = rank_one_passages(first_key(first), self.depth, self.fusion_layer, self.u0)
        except NotExactError:
            return {}
        ends = (other, one) if order == "ab" else (one, other)
        ratio = Interval(ends[0].low / ends[1].high, ends[0].high / ends[1].low)
        return {f"passage_time_{order[0]}": one, f"passage_time_{order[1]}": other, "passage_ratio": ratio}

    def risk(self, maps: Tensor) -> Tensor:
        """Exact mean squared error of linear maps [*batch_shape, d_a + d_b] (a network's end-to-end map) in this population."""
        miss = maps - torch.tensor(self.weights, dtype=torch.float64)
        return ((miss @ self.moments.covariance) * miss).sum(-1) + self.label_noise


def first_key(moments: Moments) -> tuple[float, ...]:
    """Σ_aa, Σ_ab, Σ_bb, Σ_ya, Σ_yb of scalar modalities.

    :raises NotExactError: vectors, whose dynamics are not rank one with fixed directions.
    """
    if moments.dims != (1, 1):
        raise NotExactError(f"rank-one dynamics: expected scalar modalities, found dims {moments.dims}")
    s = moments.covariance
    return (float(s[0, 0]), float(s[0, 1]), float(s[1, 1]), float(moments.cross[0]), float(moments.cross[1]))


def _enclosed(value: float) -> Interval:
    """A double's value with its rounding; infinite stays infinite."""
    return Interval(value, value) if math.isinf(value) else Interval.exact(value, 1e-9 * abs(value) + ROUNDING)
