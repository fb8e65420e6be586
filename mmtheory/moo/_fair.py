"""Nash-MTL and FairGrad: weights that bargain for every objective's improvement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ._certificate import Certificate, certify_equations, product
from ._checks import numbers, settled, within
from ._lanes import ITEMS, in_lanes, solve_lanes
from ._nnqp import SOLVE
from ._weighting import Weighting

PAIR = 2
ROUNDS = 100
COARSE = 1e-6
POLISH = 2
NEAR = 0.25
SEARCHED = 20  # rounds with a line search; from any point the damped steps alone come to the end
TRIES = 3
BOLD = 0.99  # the longest step's share of the way to the boundary
FARTHEST = 99.0
EPS = float(np.finfo(np.float64).eps)


def bargain(gramian: Tensor, alpha: float) -> Tensor:
    r"""Positive solutions of :math:`(Gw)_i = w_i^{-1/\alpha}` by Newton's method with a line search on the cosine-normalised system.

    With b = D w this is :math:`(Cb)_i = k_i b_i^{-1/\alpha}`, the stationarity of a strictly convex barrier function, whatever the rank of C.
    """
    m = gramian.shape[-1]
    one = numbers(gramian) if gramian.ndim == 2 else None
    if alpha == 1 and m == PAIR:
        return _of_two(gramian) if one is None else torch.from_numpy(_pair_of_one(one))
    if one is not None:
        with np.errstate(all="ignore"):  # without a solution the iterates overflow, which the residual shows
            return torch.from_numpy(_bargain_of_one(one, alpha))
    parts = [_bargain_of_many(in_lanes(part), alpha) for part in gramian.reshape(-1, m, m).split(ITEMS)]
    return torch.cat(parts, -1).mT.reshape(gramian.shape[:-1])


def _bargain_of_many(G: Tensor, alpha: float) -> Tensor:
    """The weights ``[m, n]`` of Gramians ``[m, m, n]``."""
    norms = G.diagonal().mT.clamp(min=0).sqrt()
    live = norms > 0
    inverse = torch.where(live, 1 / norms, 0.0)
    C = G * inverse[:, None] * inverse
    C.diagonal().fill_(1)
    power = 1 / alpha
    k = torch.where(live, norms, 1.0) ** (power - 1)
    b = k ** (alpha / (1 + alpha))
    slopes = (C * b).sum(1)
    best, least, last = b, torch.full_like(b[0], torch.inf), ROUNDS
    for i in range(ROUNDS):
        target = k * (b.reciprocal() if power == 1 else b**-power)
        gradient = slopes - target
        error = (gradient / target).abs().amax(0)
        better = error < least
        best, least = torch.where(better, b, best), torch.where(better, error, least)
        if last == ROUNDS and settled(least > COARSE):
            last = i + POLISH  # convergence is quadratic from here
        if i >= last:
            break
        hessian = C.clone()
        hessian.diagonal().add_((power * target / b).mT)
        move = solve_lanes(hessian, -gradient)
        change = move / b
        bend = (C * move).sum(1)
        size = max(1.0, (1 + power) / 2) * change.abs().amax(0)
        step = torch.where(size > NEAR, 1 / (1 + size), 1.0)  # full steps in the region of quadratic convergence
        if i < SEARCHED and not settled(size > NEAR):
            step = torch.where(size > NEAR, _searched(step, move, change, target, (slopes, bend), power), step)
        b = b + step * move
        # Carried along, but for the last rounds, whose residual decides.
        slopes = slopes + step * bend if last == ROUNDS else (C * b).sum(1)
    return torch.where(live, best * inverse, 0.0)


def _searched(
    step: Tensor, move: Tensor, change: Tensor, target: Tensor, slopes: tuple[Tensor, Tensor], power: float
) -> Tensor:
    """Where the barrier function is least along the move, by bracketed Newton steps from the damped one; only rough, and never outside."""
    bend, slope = (move * slopes[1]).sum(0), (move * slopes[0]).sum(0)
    low, high = torch.zeros_like(step), BOLD / (-change).amax(0).clamp(min=BOLD / FARTHEST)
    for _ in range(TRIES):
        inside = 1 + step * change
        pull = target * move * (inside.reciprocal() if power == 1 else inside**-power)
        rise = slope + bend * step - pull.sum(0)
        curve = bend + power * (pull * change / inside).sum(0)
        low, high = torch.where(rise < 0, step, low), torch.where(rise < 0, high, step)
        new = step - rise / curve
        step = torch.where((new > low) & (new < high), new, (low + high) / 2)
    return step


def _bargain_of_one(G: np.ndarray, alpha: float) -> np.ndarray:
    """The same iteration for one Gramian on the host, at a fifth of the cost."""
    norms = np.sqrt(np.maximum(G.diagonal(), 0.0))
    live = norms > 0
    inverse = np.divide(1.0, norms, out=np.zeros_like(norms), where=live)
    C = G * inverse * inverse[:, None]
    np.fill_diagonal(C, 1.0)
    power = 1 / alpha
    k = np.where(live, norms, 1.0) ** (power - 1)
    b = k ** (alpha / (1 + alpha))
    best, least, last = b, math.inf, ROUNDS
    for i in range(ROUNDS):
        target = k * b**-power
        gradient = C @ b - target
        error = float(np.abs(gradient / target).max())
        if error < least:
            best, least = b, error
        if last == ROUNDS and least <= COARSE:
            last = i + POLISH + 2
        if i >= last:
            break
        hessian = C.copy()
        hessian.flat[:: len(b) + 1] += power * target / b
        _, move, _ = SOLVE(hessian, -gradient)
        largest = max(1.0, (1 + power) / 2) * float(np.abs(move / b).max())
        b = b + (move / (1 + largest) if largest > 0.25 else move)
    return np.where(live, best * inverse, 0.0)


def _pair_of_one(G: np.ndarray) -> np.ndarray:
    """The closed form (``_of_two``) for one pair on the host."""
    a, b, c = float(G[0, 0]), float(G[0, 1]), float(G[1, 1])
    first, second = (1 / v**0.5 if v > 0 else 0.0 for v in (a, c))
    level = max(1 + b * first * second, EPS) ** -0.5
    return np.array((first * level, second * level))


def _of_two(gramian: Tensor) -> Tensor:
    """The closed form for m = 2: 1/(‖g_i‖ √(1 + cos)), the bisector; held finite where the two are opposite and there is none."""
    norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
    live = norms > 0
    inverse = torch.where(live, 1 / norms, 0.0)
    raised = 1 + gramian[..., 0, 1, None] * inverse.prod(-1, keepdim=True)
    return inverse * raised.clamp(min=torch.finfo(gramian.dtype).eps).rsqrt()


def residual(gramian: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """max_i |w_i^{1/α} (Gw)_i − 1| over the objectives with a gradient."""
    live = gramian.diagonal(dim1=-2, dim2=-1) > 0
    value = weights.clamp(min=0) ** (1 / alpha) * product(gramian, weights) - 1
    return torch.where(live, value.abs(), 0.0).amax(-1)


@final
@dataclass(frozen=True)
class NashMTL(Weighting):
    r"""The Nash bargaining solution.

    .. math:: w_i (Gw)_i = 1, \; w > 0 \qquad\Rightarrow\qquad \|d\| = \sqrt m, \quad \langle g_i, d\rangle = 1 / w_i > 0

    Invariant to the scale of each row. Where 0 lies in the hull no solution exists: the weights grow until the iterations end and the
    certificate's gap, the residual, stays far from zero. A zero row gets weight 0 and leaves the bargain.

    Source: Navon et al. 2022 (paper); the Newton iteration in place of its convex-concave one is derived here.

    >>> NashMTL().weights(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [0.5, 1.0]
    """

    name: ClassVar[str] = "nash"
    degree: ClassVar[float | None] = -1.0

    def solve(self, gramian: Tensor) -> Tensor:
        return bargain(gramian, 1.0)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        return certify_equations(G, w, residual(G, w, 1.0))


@final
@dataclass(frozen=True)
class FairGrad(Weighting):
    r"""Alpha-fair weights.

    .. math:: Gw = w^{-1/\alpha}, \; w > 0 \qquad\Rightarrow\qquad \langle g_i, d\rangle = w_i^{-1/\alpha} > 0

    :param alpha: 1 is Nash-MTL, 2 the minimum potential delay, towards 0 the plain sum, towards ∞ max-min fairness.
    :raises ArgumentError: alpha not positive.

    Source: Ban & Ji 2024 (paper).

    >>> FairGrad(alpha=0.5).weights(torch.tensor([[8.0, 0.0], [0.0, 1.0]])).tolist()
    [0.5, 1.0]
    """

    name: ClassVar[str] = "fairgrad"

    alpha: float = 1.0

    def __post_init__(self) -> None:
        within("alpha", self.alpha, 0.0, open_low=True)

    def solve(self, gramian: Tensor) -> Tensor:
        return bargain(gramian, self.alpha)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        return certify_equations(G, w, residual(G, w, self.alpha))
