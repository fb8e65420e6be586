"""Deep linear fusion networks under population gradient flow and descent, stacked over networks and populations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws

from .phase_laws import Moments

# Dormand and Prince 1980: the last stage of a step is the first of the next.
STAGES = torch.tensor(
    [
        [1 / 5, 0, 0, 0, 0, 0],
        [3 / 40, 9 / 40, 0, 0, 0, 0],
        [44 / 45, -56 / 15, 32 / 9, 0, 0, 0],
        [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729, 0, 0],
        [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656, 0],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ],
    dtype=torch.float64,
)
ERROR = torch.tensor([71 / 57600, 0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40], dtype=torch.float64)
FIRST_STEP = 1e-3


@final
@dataclass(frozen=True)
class FusionNet:
    r"""Two linear branches of L_f layers, added and followed by L − L_f shared layers; scalar output, squared loss.

    .. math:: \hat y = S\,(P_a x_a + P_b x_b), \qquad \dot W = -\partial_W \tfrac12 E(y-\hat y)^2

    The state is one flat tensor [*batch_shape, parameters]; time is in units of the time constant τ = 1/learning rate.

    :param depth: L, layers from input to output.
    :param fusion_layer: L_f, the last layer that belongs to one modality: 1 is early fusion, L is late fusion.
    :param width: of every hidden layer; 1 is exactly the rank-one dynamics of aligned balanced networks.
    :raises ArgumentError: layers out of order.

    >>> FusionNet(2, 2, 1, (1, 1)).sizes
    (1, 1, 1, 1)
    """

    depth: int
    fusion_layer: int
    width: int
    dims: tuple[int, int]

    def __post_init__(self) -> None:
        if not (self.depth >= 2 and 1 <= self.fusion_layer <= self.depth and self.width >= 1 and min(self.dims) >= 1):
            raise ArgumentError(
                f"network: expected depth >= 2, 1 <= fusion_layer <= depth, width >= 1, dims >= 1, found {self}"
            )

    @cached_property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Matrices (out, in): branch a from the input up, branch b, the shared layers."""
        out = [self.width] * (self.depth - 1) + [1]
        branches = [(out[i], d if i == 0 else self.width) for d in self.dims for i in range(self.fusion_layer)]
        return (*branches, *((out[i], self.width) for i in range(self.fusion_layer, self.depth)))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each matrix."""
        return tuple(rows * columns for rows, columns in self.shapes)

    def matrices(self, state: Tensor) -> list[Tensor]:
        """The matrices inside a flat state, as views."""
        parts = state.split(self.sizes, dim=-1)
        return [p.reshape(*p.shape[:-1], *s) for p, s in zip(parts, self.shapes, strict=True)]

    def flat(self, matrices: list[Tensor]) -> Tensor:
        """The state that holds these matrices."""
        return torch.cat([m.flatten(-2) for m in matrices], -1)

    def maps(self, state: Tensor) -> Tensor:
        """End-to-end maps side by side, [*batch_shape, d_a + d_b]."""
        layers = self.matrices(state)
        f = self.fusion_layer
        top = layers[2 * f :]
        return torch.cat([_chain([*layers[m * f : (m + 1) * f], *top])[..., 0, :] for m in (0, 1)], -1)

    def velocity(self, moments: Moments) -> Callable[[Tensor], Tensor]:
        """The right side of the gradient flow for these populations."""
        f, d = self.fusion_layer, self.dims[0]

        def field(state: Tensor) -> Tensor:
            layers = self.matrices(state)
            branches, top = (layers[:f], layers[f : 2 * f]), layers[2 * f :]
            lifted = [_chain(branch) for branch in branches]
            above = _after(top, state)
            whole = torch.cat([(above[0] @ lift)[..., 0, :] for lift in lifted], -1)
            rest = moments.cross - (whole[..., None, :] @ moments.covariance)[..., 0, :]
            pulls = (rest[..., None, :d], rest[..., None, d:])
            grown: list[Tensor] = []
            for branch, pull in zip(branches, pulls, strict=True):
                grown += _branch_velocity(branch, above[0], pull)
            below = sum((lift @ pull.mT for lift, pull in zip(lifted, pulls, strict=True)), torch.zeros(()))
            for i, layer in enumerate(top):
                grown.append(above[i + 1].mT @ below.mT)
                below = layer @ below
            return self.flat(grown)

        return field

    def aligned(self, u0: Tensor | float, moments: Moments) -> Tensor:
        """Balanced start: every branch layer of norm u₀ along the direction in which it ends, shared layers √2 u₀.

        With this start all hidden layers stay rank one for ever, along one hidden direction.
        """
        final = moments.together()
        u0 = torch.as_tensor(u0, dtype=torch.float64).expand(moments.batch_shape)[..., None, None]
        ends = (final[..., None, : self.dims[0]], final[..., None, self.dims[0] :])
        matrices: list[Tensor] = []
        for end in ends:
            for i in range(self.fusion_layer):
                rows, columns = self.shapes[i]
                unit = torch.zeros(rows, columns if i else 1, dtype=torch.float64)
                unit[0, 0] = 1.0
                matrices.append(u0 * (unit if i else unit @ (end / end.norm(dim=-1, keepdim=True))))
        for rows, columns in self.shapes[2 * self.fusion_layer :]:
            unit = torch.zeros(rows, columns, dtype=torch.float64)
            unit[0, 0] = math.sqrt(2)
            matrices.append(u0 * unit)
        return self.flat(matrices)

    def random(self, u0: Tensor | float, draws: Draws) -> Tensor:
        """Gaussian matrices scaled to norm u₀ each, [*draws.batch_shape, parameters]; equal draws at two u₀ are proportional."""
        parts = [draws.normal(f"layer {i}", size) for i, size in enumerate(self.sizes)]
        unit = torch.cat([p / p.norm(dim=-1, keepdim=True) for p in parts], -1)
        return torch.as_tensor(u0, dtype=torch.float64)[..., None] * unit


@final
@dataclass(frozen=True)
class Passage:
    """First-passage times and the last state of a stacked flow.

    Shape: ``times`` [*batch_shape, marks], infinite where a mark was not passed before ``end``; ``state`` [*batch_shape, parameters].
    """

    times: Tensor
    state: Tensor
    steps: int


def flow(
    net: FusionNet,
    moments: Moments,
    start: Tensor,
    *,
    until: Tensor | float = math.inf,
    marks: Tensor | None = None,
    tolerance: float = 1e-8,
    most_steps: int = 20000,
) -> Passage:
    r"""Gradient flow with a step size of its own for every network, until all marks are passed or the time is up.

    ``marks`` [*batch_shape, 2] are thresholds c_m for :math:`\langle W_m, \hat u_m\rangle`, the end-to-end map of modality m along the
    direction û_m of its final value; a mark is passed at the first time the curve reaches it from below (never at the nearest point of
    the curve: an overshoot would move that). Crossings are located inside a step on the cubic Hermite interpolant.

    :param tolerance: relative local error of a step (Dormand–Prince 5(4)).
    :raises NotExactError: more than ``most_steps`` steps.

    Source: derived here (embedded Runge–Kutta pair of Dormand and Prince 1980).
    """
    field = net.velocity(moments)
    batch = start.shape[:-1]
    end = torch.as_tensor(until, dtype=torch.float64).expand(batch)
    goal = torch.full((*batch, 2), math.inf, dtype=torch.float64) if marks is None else marks.expand(*batch, 2)
    direction = _directions(moments).expand(*batch, sum(net.dims))
    watch = _Watch(net, direction, goal, start)
    floor = tolerance * start.abs().amax(-1, keepdim=True) * 1e-2
    y, t = start, torch.zeros(batch, dtype=torch.float64)
    slope = field(y)
    step = FIRST_STEP * y.norm(dim=-1) / slope.norm(dim=-1).clamp(min=1e-300)
    for count in range(most_steps):
        running = (t < end) & ~((watch.passed | goal.isinf()).all(-1) & (marks is not None))
        if not bool(running.any()):
            return Passage(watch.times(), y, count)
        h = torch.where(running, torch.minimum(step, end - t), 0.0)
        new, last, error = _step(field, y, slope, h)
        scale = floor + tolerance * torch.maximum(y.abs(), new.abs()).clamp(min=1e-300)
        size = ((error / scale) ** 2).mean(-1).sqrt()
        good = (size <= 1) & running
        watch.look(y, slope, new, last, t, h, good)
        keep = good[..., None]
        y, slope, t = torch.where(keep, new, y), torch.where(keep, last, slope), torch.where(good, t + h, t)
        step = torch.where(running, h * (0.9 * size.clamp(min=1e-10) ** -0.2).clamp(0.2, 5.0), step)
    raise NotExactError(
        f"flow: expected an end within {most_steps} steps, found networks at times {t.min():g} to {t.max():g}"
    )


def descend(
    net: FusionNet, moments: Moments, start: Tensor, *, rate: Tensor | float, steps: int, every: int = 0
) -> Tensor:
    """Gradient descent with one learning rate a network; the last state, or with ``every`` the maps at each ``every``-th step in front.

    Shape: [*batch_shape, parameters], or [steps // every, *batch_shape, d_a + d_b].
    """
    field, state, seen = net.velocity(moments), start, list[Tensor]()
    rate = torch.as_tensor(rate, dtype=torch.float64).expand(start.shape[:-1])[..., None]
    for i in range(1, steps + 1):
        state = state + rate * field(state)
        if every and i % every == 0:
            seen.append(net.maps(state))
    return torch.stack(seen) if every else state


class _Watch:
    """Remembers, for each mark, the step in which it was first passed."""

    def __init__(self, net: FusionNet, direction: Tensor, goal: Tensor, start: Tensor) -> None:
        self.net, self.direction, self.goal = net, direction, goal
        self.passed = self._height(start) >= goal
        wide = (*goal.shape, start.shape[-1])
        self.ends = [torch.zeros(wide, dtype=torch.float64) for _ in range(4)]
        self.at = torch.where(self.passed, 0.0, math.inf)
        self.step = torch.zeros_like(goal)

    def _height(self, state: Tensor) -> Tensor:
        """⟨W_m, û_m⟩ of both modalities, [*batch_shape, 2]."""
        parts = (self.net.maps(state) * self.direction).split(self.net.dims, dim=-1)
        return torch.stack([p.sum(-1) for p in parts], -1)

    def look(self, y: Tensor, slope: Tensor, new: Tensor, last: Tensor, t: Tensor, h: Tensor, good: Tensor) -> None:
        """Note the marks that an accepted step passes."""
        now = (self._height(new) >= self.goal) & ~self.passed & good[..., None]
        if not bool(now.any()):
            return
        self.passed = self.passed | now
        self.at = torch.where(now, t[..., None], self.at)
        self.step = torch.where(now, h[..., None], self.step)
        self.ends = [
            torch.where(now[..., None], v[..., None, :], old)
            for v, old in zip((y, slope, new, last), self.ends, strict=True)
        ]

    def times(self) -> Tensor:
        """Bisection on the Hermite interpolants of all noted steps at once."""
        low, high = torch.zeros_like(self.goal), torch.ones_like(self.goal)
        which = torch.arange(2)
        for _ in range(40):
            middle = (low + high) / 2
            state = _hermite(self.ends, self.step, middle)
            height = torch.stack([self._height(state[..., int(m), :])[..., int(m)] for m in which], -1)
            above = height >= self.goal
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return self.at + high * self.step


def _hermite(ends: list[Tensor], step: Tensor, theta: Tensor) -> Tensor:
    """The cubic through both ends of a step with their slopes, at fraction theta."""
    y0, f0, y1, f1 = ends
    s, h = theta[..., None], step[..., None]
    return (
        (1 - s) ** 2 * (1 + 2 * s) * y0 + s * (1 - s) ** 2 * h * f0 + s**2 * (3 - 2 * s) * y1 - s**2 * (1 - s) * h * f1
    )


def _step(field: Callable[[Tensor], Tensor], y: Tensor, slope: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One step of every network: new state, slope there, local error."""
    slopes = torch.zeros(7, *y.shape, dtype=torch.float64)
    slopes[0] = slope
    lead, new = h[..., None], y
    for i in range(6):
        new = y + lead * torch.tensordot(STAGES[i, : i + 1], slopes[: i + 1], dims=1)
        slopes[i + 1] = field(new)
    return new, slopes[6], lead * torch.tensordot(ERROR, slopes, dims=1)


def _directions(moments: Moments) -> Tensor:
    """Unit vectors of the two modalities' final maps (least squares of least norm), side by side; 0 for a modality switched off."""
    final = (torch.linalg.pinv(moments.covariance, hermitian=True) @ moments.cross[..., None])[..., 0]
    parts = final.split(moments.dims, dim=-1)
    return torch.cat([p / p.norm(dim=-1, keepdim=True).clamp(min=1e-300) for p in parts], -1)


def _chain(layers: list[Tensor]) -> Tensor:
    """Product, first layer rightmost."""
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    return product


def _after(top: list[Tensor], state: Tensor) -> list[Tensor]:
    """What stands above each shared layer, [1, h] each, from all of them down to nothing."""
    above = [torch.ones(*state.shape[:-1], 1, 1, dtype=state.dtype)]
    for layer in reversed(top):
        above.insert(0, above[0] @ layer)
    return above


def _branch_velocity(branch: list[Tensor], above: Tensor, pull: Tensor) -> list[Tensor]:
    """−∂loss/∂W of each layer of one branch, first layer first."""
    uppers = [above]
    for layer in reversed(branch[1:]):
        uppers.insert(0, uppers[0] @ layer)
    grown, below = list[Tensor](), pull.mT
    for layer, upper in zip(branch, uppers, strict=True):
        grown.append(upper.mT @ below.mT)
        below = layer @ below
    return grown
