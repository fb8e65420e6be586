"""The law behind every linear-Gaussian world: latent, loadings, noise, target, and what conditioning says about them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Literal

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.info import Decomposition, gaussian_information, mmi_decomposition
from mmtheory.stats import Interval

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True, eq=False)
class LinearGaussianLaw:
    r"""y and the stacked inputs of a latent linear-Gaussian world.

    .. math:: z \sim N(0, I_r), \quad x = C(Az + \varepsilon),\ \varepsilon \sim N(0, \Psi), \quad y = w^\top z + \sigma_y\eta

    Only the informative coordinates carry a row of A and Ψ; every other coordinate is white noise of its own and costs nothing here.

    Shape: loading [k, r], noise [k, k], target [r], scale [d], with k <= d = Σ widths.

    :param widths: modality → number of its coordinates, in order.
    :param column: for each row of ``loading``, its place among the d coordinates.
    :param scale: C's diagonal.
    :param label_noise: σ_y², 0 for none.
    :raises ArgumentError: a noise covariance that is not symmetric positive definite.
    """

    widths: Mapping[str, int]
    loading: Tensor
    noise: Tensor
    target: Tensor
    label_noise: float
    column: tuple[int, ...]
    scale: Tensor

    def __post_init__(self) -> None:
        if not torch.equal(self.noise, self.noise.mT) or bool(torch.linalg.cholesky_ex(self.noise).info):
            raise ArgumentError("noise: expected a symmetric positive definite covariance, found one that is not")

    @cached_property
    def starts(self) -> dict[str, int]:
        """Modality → its first coordinate."""
        at, found = 0, dict[str, int]()
        for m, width in self.widths.items():
            found[m], at = at, at + width
        return found

    def columns(self, given: Iterable[str] | None = None) -> list[int]:
        """The coordinates of some modalities (all by default), in the world's order."""
        chosen = set(self.widths if given is None else given)
        spans = (range(self.starts[m], self.starts[m] + self.widths[m]) for m in self.widths if m in chosen)
        return list(chain.from_iterable(spans))

    def rows(self, given: Iterable[str]) -> list[int]:
        """Those of them that carry something, as rows of the loading."""
        chosen = set(self.columns(given))
        return [i for i, c in enumerate(self.column) if c in chosen]

    def dim(self, given: Iterable[str]) -> int:
        """d_S, the number of coordinates."""
        return sum(self.widths[m] for m in set(given))

    @cached_property
    def covariance(self) -> Tensor:
        """Σ of all coordinates, [d, d]."""
        full = torch.eye(len(self.scale), dtype=torch.float64)
        at = list(self.column)
        full[torch.tensor(at)[:, None], torch.tensor(at)] = self.loading @ self.loading.mT + self.noise
        return self.scale[:, None] * full * self.scale

    @cached_property
    def cross(self) -> Tensor:
        """Σ_xy, [d]."""
        full = torch.zeros(len(self.scale), dtype=torch.float64)
        full[list(self.column)] = self.loading @ self.target
        return self.scale * full

    @property
    def variance(self) -> float:
        """Var(y) = ‖w‖² + σ_y²."""
        return float(self.target @ self.target) + self.label_noise

    @cached_property
    def joint(self) -> Tensor:
        """Covariance of all coordinates and, last, y: [d + 1, d + 1]."""
        last = torch.cat([self.cross, torch.tensor([self.variance], dtype=torch.float64)])
        return torch.cat([torch.cat([self.covariance, self.cross[:, None]], 1), last[None]])

    def block(self, given: Iterable[str]) -> tuple[Tensor, Tensor]:
        """Σ_SS and Σ_Sy."""
        at = self.columns(given)
        return self.covariance[at][:, at], self.cross[at]

    def coefficients(self, given: Iterable[str]) -> Tensor:
        """b_S = Σ_SS⁻¹Σ_Sy: the best predictor of all, and it is linear.

        Shape: [d_S].
        """
        cov, cross = self.block(given)
        unit = cov.diagonal().sqrt()
        return torch.linalg.solve(cov / unit / unit[:, None], cross / unit) / unit

    def risk(self, given: Iterable[str], *, route: Literal["precision", "schur"] = "precision") -> Interval:
        r"""Var(y | x_S), by the latent's posterior precision or by the Schur complement of the joint covariance.

        .. math:: \sigma_y^2 + w^\top(I + A_S^\top\Psi_{SS}^{-1}A_S)^{-1}w \;=\; \mathrm{Var}(y) - \Sigma_{yS}\Sigma_{SS}^{-1}\Sigma_{Sy}
        """
        given = frozenset(given)
        rows = self.rows(given)
        if not rows:
            return Interval.exact(self.variance)
        if route == "schur":
            value = self.variance - float(self.block(given)[1] @ self.coefficients(given))
        else:
            a, noise = self.loading[rows], self.noise[rows][:, rows]
            half = torch.linalg.solve_triangular(torch.linalg.cholesky(noise), a, upper=False)
            precision = torch.eye(a.shape[1], dtype=torch.float64) + half.mT @ half
            value = self.label_noise + float(self.target @ torch.linalg.solve(precision, self.target))
        slack = self._slack(rows)
        return Interval(max(value - slack, self.label_noise), max(value + slack, self.label_noise))

    def _slack(self, rows: list[int]) -> float:
        """Rounding of a solve with a matrix of this condition, relative to Var(y)."""
        cov = (self.loading @ self.loading.mT + self.noise)[rows][:, rows]
        unit = cov.diagonal().sqrt()
        eigenvalues = torch.linalg.eigvalsh(cov / unit / unit[:, None])
        return 8 * EPS * len(rows) * float(eigenvalues[-1] / eigenvalues[0].clamp(min=EPS)) * self.variance

    def information(
        self, given: Iterable[str], *, route: Literal["variance ratio", "canonical"] = "variance ratio"
    ) -> Interval:
        r"""I(x_S; y) in nats, from the two variances of y or from the canonical correlations of the joint covariance.

        .. math:: I = \tfrac12\ln\frac{\mathrm{Var}(y)}{\mathrm{Var}(y \mid x_S)}
        """
        rows = self.rows(given)
        if not rows:
            return Interval.exact(0.0)
        risk = self.risk(given)
        if route == "variance ratio":
            ends = (0.5 * math.log(self.variance / r) if r > 0 else math.inf for r in (risk.high, risk.low))
            return Interval(*(max(0.0, end) for end in ends))
        a = torch.cat([self.loading[rows], self.target[None]])
        cov = a @ a.mT
        cov[:-1, :-1] += self.noise[rows][:, rows]
        cov[-1, -1] += self.label_noise
        value = float(gaussian_information(cov, range(len(rows)), [len(rows)]))
        return Interval.exact(value, risk.width / max(risk.low, EPS)).clipped(0.0, math.inf)

    def decomposition(self, first: Iterable[str], second: Iterable[str]) -> Decomposition:
        """PID of y between two disjoint groups of modalities, exact because y is a scalar.

        Whatever the latent's dimension, all that a group says about y is its best linear predictor, a noisy copy of y: the noisier of
        two such copies is a garbling of the other, so the least information is the redundancy.

        :raises ArgumentError: groups that overlap.

        Source: Barrett 2015 (known); the reduction to a scalar derived here.
        """
        one, two = frozenset(first), frozenset(second)
        if one & two:
            raise ArgumentError(
                f"decomposition: expected disjoint groups, found {', '.join(sorted(one & two))} in both"
            )
        values = (self.information(s).middle for s in (one, two, one | two))
        return mmi_decomposition(*values)

    def linear_risk(self, weights: Tensor, given: Iterable[str], *, intercept: Tensor | float = 0.0) -> Tensor:
        r"""Exact mean squared error of the predictor ŵᵀx_S + intercept.

        .. math:: (\hat w - b_S)^\top \Sigma_{SS} (\hat w - b_S) + \text{intercept}^2 + r^*(S)

        Shape: weights [*batch_shape, d_S] -> [*batch_shape].
        """
        cov, _ = self.block(given)
        off = weights - self.coefficients(given)
        return ((off @ cov) * off).sum(-1) + intercept**2 + self.risk(given).middle
