"""Expectations of a log-odds that is a difference of two scaled noncentral chi-squares, with certified numerical error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.stats import Interval

Array = NDArray[np.float64]
_REACH = 8.5  # P(|‖z + ν‖ − E‖z + ν‖| > t) <= 2 exp(−t²/2) for a standard normal z, 4e−16 here
_WORST = 1e-8


@dataclass(frozen=True)
class ChiDifference:
    r"""The random variable :math:`L = aP^2 - bQ^2 + k`, P and Q independent noncentral chi in ``dim`` dimensions.

    Two Gaussian classes with unequal isotropic covariances on two blocks have a log-odds of this law: their Bayes error is
    :math:`P(L < 0)` and their equivocation :math:`E \ln(1 + e^{-L})`. Both are two-dimensional integrals of smooth functions on a box
    that holds all but 1e−15 of the mass, by composite Gauss–Legendre rules of two orders: the difference of the two, tenfold, is the
    stated error. An integral whose error would exceed 1e−8 is refused.

    :param first: a > 0.
    :param second: b > 0.
    :param offset: k; 0 makes P(L < 0) a doubly noncentral Fisher–Snedecor probability.
    :param first_shift: the noncentrality ν of P (the length of the mean, not its square); 0 is a central chi.
    :param second_shift: that of Q.
    :raises ArgumentError: a parameter out of its domain.

    Source: derived here.

    >>> round(ChiDifference(3, 1.0, 1 / 3).negative().middle, 6)
    0.195501
    """

    dim: int
    first: float
    second: float
    offset: float = 0.0
    first_shift: float = 0.0
    second_shift: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.first, self.second, self.offset, self.first_shift, self.second_shift)
        good = self.dim >= 1 and min(self.first, self.second) > 0 and min(self.first_shift, self.second_shift) >= 0
        if not (good and all(map(math.isfinite, numbers))):
            raise ArgumentError(
                f"ChiDifference: expected dim >= 1, positive scales, shifts >= 0, all finite, found {self}"
            )

    def negative(self) -> Interval:
        """P(L < 0)."""
        # The outer variable is the one whose square root begins inside the box, where a substitution removes it.
        one, two = (self.first, self.first_shift), (self.second, self.second_shift)
        if self.offset <= 0:
            return self._settle(lambda order: _tail(self.dim, one, two, -self.offset, order), "P(L < 0)")
        return -self._settle(lambda order: _tail(self.dim, two, one, self.offset, order), "P(L > 0)") + 1.0

    def softplus(self) -> Interval:
        """E ln(1 + e^{−L}), nat."""
        return self._settle(self._softplus, "E ln(1 + exp(−L))")

    def _softplus(self, order: int) -> float:
        """The integral by rules of this order on panels that close in on the line L = 0."""
        q, weight = _nodes(_panels(*_box(self.dim, self.second_shift), finer=min(8, math.ceil(2 * self.second))), order)
        low, high = _box(self.dim, self.first_shift)
        root = np.sqrt(np.maximum(self.second * q**2 - self.offset, 0.0) / self.first).clip(low, high)
        levels = max(1, math.ceil(math.log2((high - low) * 8 * self.first * high + 2)))
        steps = (high - low) * 0.5 ** np.arange(levels)
        close = np.concatenate([root[:, None] - steps, root[:, None], root[:, None] + steps], axis=1)
        fixed = np.broadcast_to(_panels(low, high), (len(q), len(_panels(low, high))))
        p, inner = _nodes(np.sort(np.concatenate([close.clip(low, high), fixed], axis=1), axis=1), order)
        log_odds = self.first * p**2 - self.second * q[:, None] ** 2 + self.offset
        along = (inner * _density(p, self.dim, self.first_shift) * np.logaddexp(0.0, -log_odds)).sum(1)
        return float((weight * _density(q, self.dim, self.second_shift) * along).sum())

    def _settle(self, rule: Callable[[int], float], what: str) -> Interval:
        """The finer of two rules, with ten times their difference, rounding and the cut-off mass as its error."""
        coarse, fine = rule(10), rule(16)
        size = self.first * self._top**2 + abs(self.offset)
        error = 10 * abs(coarse - fine) + 1e-12 + 2e-16 * size
        if not error < _WORST:
            raise NotExactError(f"{what}: expected a numerical error below {_WORST:g}, found {error:.1g} for {self}")
        return Interval.exact(fine, error)

    @cached_property
    def _top(self) -> float:
        """Where the box of P ends."""
        return _box(self.dim, self.first_shift)[1]


def _tail(dim: int, outer: tuple[float, float], inner: tuple[float, float], gap: float, order: int) -> float:
    """P(a·P² < b·Q² + gap) for gap >= 0: the mass below the root, then P at p against Q beyond √((a·p² − gap)/b)."""
    (a, shift), (b, other) = outer, inner
    low, high = _box(dim, shift)
    root = min(max(math.sqrt(gap / a), low), high)
    below = 0.0
    if root > low:
        p, weight = _nodes(_panels(low, root), order)
        below = float((weight * _density(p, dim, shift)).sum())
    if root >= high:
        return below
    reach = math.sqrt(high - root)
    even = np.linspace(0.0, 1.0, 2 * len(_panels(root, high)))
    graded = 0.5 ** np.arange(max(1, math.ceil(math.log2(1 + a / b))), dtype=np.float64)
    s, weight = _nodes(reach * np.union1d(even, graded).astype(np.float64), order)
    p = root + s**2  # turns the square root at the root into s
    start = np.sqrt(np.maximum(a * p**2 - gap, 0.0) / b)
    bottom, top = _box(dim, other)
    edges = np.linspace(0.0, 1.0, len(_panels(bottom, top)))
    start = start.clip(bottom, top)[:, None]
    q, inside = _nodes(start + (top - start) * edges, order)
    beyond = (inside * _density(q, dim, other)).sum(1)
    return below + float((weight * 2 * s * _density(p, dim, shift) * beyond).sum())


def _density(p: Array, dim: int, shift: float) -> Array:
    """The density of ‖z + ν‖ in ``dim`` dimensions; Bessel's function for large arguments, its series for small ones."""
    order, z = dim / 2 - 1, p * shift
    if dim == 1:
        return (np.exp(-((p - shift) ** 2) / 2) + np.exp(-((p + shift) ** 2) / 2)) / math.sqrt(2 * math.pi)
    safe = np.maximum(p, 1e-300)
    head = (dim - 1) * np.log(safe) - order * math.log(2) - special.gammaln(dim / 2) - (p**2 + shift**2) / 2
    small = z < 50
    value = np.exp(head) * special.hyp0f1(dim / 2, np.where(small, z, 0.0) ** 2 / 4)
    if not small.all():
        large = np.where(small, 50.0, z)
        bessel = np.log(special.ive(order, large)) - (p - shift) ** 2 / 2
        value = np.where(
            small,
            value,
            np.exp(bessel + math.log(max(shift, 1e-300)) + (order + 1) * np.log(safe / max(shift, 1e-300))),
        )
    return value


def _box(dim: int, shift: float) -> tuple[float, float]:
    """Where ‖z + ν‖ lies but for 4e−16: Gaussian concentration around a mean between √(ν² + d − 1) and √(ν² + d)."""
    return max(0.0, math.sqrt(shift**2 + dim - 1) - _REACH), math.sqrt(shift**2 + dim) + _REACH


def _panels(low: float, high: float, *, finer: int = 1) -> Array:
    """Edges at most one and a quarter apart, or so many times finer."""
    return low + (high - low) * np.linspace(0.0, 1.0, finer * max(8, math.ceil((high - low) / 1.25)) + 1)


def _nodes(edges: Array, order: int) -> tuple[Array, Array]:
    """Nodes and weights of the composite Gauss–Legendre rule on the last axis of ``edges``."""
    base, weight = _legendre(order)
    half = np.diff(edges, axis=-1)[..., None] / 2
    middle = (edges[..., :-1] + edges[..., 1:])[..., None] / 2
    flat = (*edges.shape[:-1], -1)
    return (middle + half * base).reshape(flat), (half * weight).reshape(flat)


@lru_cache(maxsize=8)
def _legendre(order: int) -> tuple[Array, Array]:
    """Gauss–Legendre nodes and weights on [−1, 1]."""
    return np.polynomial.legendre.leggauss(order)


def normal_softplus(mean: float, sd: float) -> Interval:
    """E ln(1 + e^{−L}) of a normal log-odds L, nat: the cross-entropy of a linear classifier of Gaussian data.

    By trapezoidal rules of two steps, which converge geometrically for this integrand; ten times their difference is the error.

    :param sd: 0 is a constant log-odds.
    :raises ArgumentError: a negative or infinite number.
    :raises NotExactError: an sd so large that the error would exceed 1e−8.

    Source: derived here.

    >>> round(normal_softplus(0.0, 0.0).middle, 12) == round(math.log(2), 12)
    True
    """
    if not (sd >= 0 and math.isfinite(mean) and math.isfinite(sd)):
        raise ArgumentError(f"normal_softplus: expected a finite mean and sd >= 0, found {mean} and {sd}")

    def rule(step: float) -> float:
        z: Array = np.arange(-_REACH - 1, _REACH + 1, step)
        return float(step * (np.exp(-(z**2) / 2) * np.logaddexp(0.0, -mean - sd * z)).sum()) / math.sqrt(2 * math.pi)

    coarse, fine = rule(0.03 / max(1.0, sd)), rule(0.02 / max(1.0, sd))
    error = 10 * abs(coarse - fine) + 1e-13 * (1 + abs(mean) + sd)
    if not error < _WORST:
        raise NotExactError(f"normal_softplus: expected a numerical error below {_WORST:g}, found {error:.1g}")
    return Interval.exact(fine, error)
