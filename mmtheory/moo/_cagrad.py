"""CAGrad: the mean gradient, bent towards the worst objective within a ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ._cagrad_lanes import path_in_lanes
from ._cagrad_path import Inner, pair_on_host, path_of_many, path_of_one
from ._certificate import Certificate, noise_of, product, squared_norm
from ._checks import numbers, preference_of, within
from ._min_norm import min_norm
from ._nnqp import ENUMERABLE, all_supports, nnqp
from ._weighting import Weighting

ROUNDS = 60
REACH = 16.5  # in logarithms: below e^-16 of the longest row, ‖g_u‖ is the Gramian's rounding error
PAIR = 2
CHUNK = 2**21  # numbers in the stack of supports solved together


@final
@dataclass(frozen=True)
class CAGrad(Weighting):
    r"""Conflict-averse gradient descent.

    .. math:: d = \arg\max_{\|d - g_0\| \le c\|g_0\|} \min_i \langle g_i, d\rangle = g_0 + \sqrt\varphi\, g_u / \|g_u\|,
        \quad u = \arg\min_{u \in \Delta} \langle g_u, g_0\rangle + \sqrt\varphi\,\|g_u\|, \quad \varphi = c^2\|g_0\|^2

    g_0 is the mean. u are the min-norm weights of the shifted rows g_i + t g_0 at the t that solves t = ‖g_u‖/√φ: a few quadratic programmes,
    each followed by the closed form on its support. Where rows depend on each other, all supports are tried up to eight objectives, and t
    is bisected beyond. Where the best u has g_u = 0, no direction of the ball has a positive worst slope: then d = 0 for c ≥ 1, and for
    c < 1 the point of the ball nearest to g_0 from which no objective rises. For small c the direction may otherwise still conflict.

    :param c: radius of the ball; 0 is the mean, ∞ the direction of MGDA; 0 ≤ c < 1 keeps convergence to the mean's stationary points.
    :raises ArgumentError: a negative c.

    Source: Liu et al. 2021 (paper); closed form per support and shifted rows derived here.

    >>> CAGrad(c=0.0).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.5, 0.5]
    """

    name: ClassVar[str] = "cagrad"
    degree: ClassVar[float | None] = 0.0

    c: float = 0.5

    def __post_init__(self) -> None:
        within("c", self.c, 0.0)

    def solve(self, gramian: Tensor) -> Tensor:
        found = pair_on_host(gramian, self.c)
        if found is not None:
            return torch.tensor(found, dtype=torch.float64)
        p = preference_of(None, gramian).expand(gramian.shape[:-1])
        size = gramian.diagonal(dim1=-2, dim2=-1).sum(-1)
        G = gramian / torch.where(size > 0, size, 1.0)[..., None, None]
        mean = squared_norm(G, p).clamp(min=0)
        phi = self.c**2 * mean
        # With c = 0 or a vanishing mean there is no ball to search.
        free = phi > 0
        u = _inner(Inner(G, product(G, p), torch.where(free, phi, 1.0), torch.where(free, mean, 1.0)))
        length = squared_norm(G, u).clamp(min=0).sqrt()
        stationary = length**2 <= noise_of(G, u)
        bend = phi.sqrt() / torch.where(stationary, 1.0, length)
        bent = torch.where(stationary[..., None], self._level(gramian, p, stationary), p + bend[..., None] * u)
        return torch.where(free[..., None], bent, p)

    def _level(self, gramian: Tensor, p: Tensor, stationary: Tensor) -> Tensor:
        """Weights where the worst slope can be no better than zero."""
        known = numbers(stationary)
        if self.c >= 1 or (known is not None and not known.any()):
            return torch.zeros_like(p)
        return p + nnqp(gramian, product(gramian, p))

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The gap is the duality gap of the inner programme, a bound for what the worst slope ⟨g_i, d⟩ still lacks."""
        G, w = gramian.detach().double(), weights.detach().double()
        p = preference_of(None, G).expand_as(w)
        radius = self.c * squared_norm(G, p).clamp(min=0).sqrt()
        mean = product(G, p)
        # The primal value min_i⟨g_i, d⟩ against the dual value ⟨g_u, g_0⟩ + √φ‖g_u‖ of any u of the simplex: that behind these weights,
        # the min-norm point, or a single objective, whichever bounds best.
        total = (w - p).sum(-1, keepdim=True)
        behind = torch.where(total > 0, (w - p) / torch.where(total > 0, total, 1.0), p).clamp(min=0)
        behind = behind / behind.sum(-1, keepdim=True)
        bound = (mean + radius[..., None] * G.diagonal(dim1=-2, dim2=-1).sqrt()).amin(-1)
        for u in (behind, min_norm(G)):
            bound = torch.minimum(bound, (mean * u).sum(-1) + radius * squared_norm(G, u).clamp(min=0).sqrt())
        gap = (bound - product(G, w).amin(-1)).clamp(min=0)
        ball = (squared_norm(G, w - p).clamp(min=0).sqrt() - radius).clamp(min=0)
        return Certificate(gap, ball, torch.zeros_like(gap), torch.zeros_like(gap), squared_norm(G, w))


def _inner(inner: Inner) -> Tensor:
    """The minimiser of the inner programme; off the host, where nothing can be picked out, always by the general route."""
    if inner.h.shape[-1] == PAIR:
        return of_two(inner)
    general = by_support if inner.h.shape[-1] <= ENUMERABLE else by_shift
    if numbers(inner.G) is None:
        return general(inner)
    if inner.h.ndim == 1:
        found = path_of_one(inner)
        if found is not None:
            return found
    m = inner.h.shape[-1]
    flat = Inner(inner.G.reshape(-1, m, m), inner.h.reshape(-1, m), inner.phi.reshape(-1), inner.size.reshape(-1))
    points, left = torch.empty_like(flat.h), torch.arange(len(flat.h))
    for route in (path_in_lanes, path_of_many):  # the second copes with more supports of dependent rows
        if not len(left):
            break
        points[left], certain = route(Inner(*(part[left] for part in flat)))
        left = left[~certain]
    if len(left):
        points[left] = general(Inner(*(part[left] for part in flat)))
    return points.reshape(inner.h.shape)


def of_two(inner: Inner) -> Tensor:
    r"""The closed form for m = 2: along g_2 + a(g_1 − g_2) the programme is δt + √φ √(At² + D), t measured from the point nearest to 0.

    .. math:: A = \|g_1 - g_2\|^2, \quad D = \det G / A, \quad \delta = h_1 - h_2, \qquad t = -\delta \sqrt{D / (A(\varphi A - \delta^2))}

    where φA > δ², else at the end that δ points away from.
    """
    first, across, second = inner.G[..., 0, 0], inner.G[..., 0, 1], inner.G[..., 1, 1]
    spread = ((first - across) + (second - across)).clamp(min=0)
    apart = spread > 0
    A = torch.where(apart, spread, 1.0)
    slope = inner.h[..., 0] - inner.h[..., 1]
    room = inner.phi * A - slope**2
    D = (first * second - across**2).clamp(min=0) / A
    t = -slope * (D / (A * torch.where(room > 0, room, 1.0))).sqrt()
    t = torch.where(room > 0, t, -slope.sign() * torch.inf)
    share = torch.where(apart, ((second - across) / A + t).nan_to_num(nan=0.5), 0.5).clamp(0, 1)
    other = torch.where(apart, ((first - across) / A - t).nan_to_num(nan=0.5), 0.5).clamp(0, 1)
    return torch.stack((share, other), -1)


def by_support(inner: Inner) -> Tensor:
    """The best point over all supports; on a support S with P = G_S⁻¹1, Q = G_S⁻¹h the stationary point is (νP − Q)/root."""
    G, m, batch = inner.G, inner.h.shape[-1], inner.h.shape[:-1]
    supports = all_supports(m, G.device)[1:]
    flat, h, phi = G.reshape(-1, m, m), inner.h.reshape(-1, m), inner.phi.reshape(-1)
    step = max(1, CHUNK // (len(supports) * m * m))
    parts = [_best(*part, supports) for part in zip(flat.split(step), h.split(step), phi.split(step), strict=True)]
    return torch.cat(parts).reshape(*batch, m)


def _best(G: Tensor, h: Tensor, phi: Tensor, supports: Tensor) -> Tensor:
    """``_by_support`` for a stack ``[n, m, m]``."""
    part = supports.to(G.dtype)
    norms = G.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    inverse = torch.where(norms > 0, 1 / norms, 1.0)
    C = G * inverse[:, :, None] * inverse[:, None, :]
    masked = C[:, None] * part[:, :, None] * part[:, None, :]
    masked.diagonal(dim1=-2, dim2=-1).add_(1 - part)
    factor, info = torch.linalg.cholesky_ex(masked)
    right = torch.stack((inverse, h * inverse), -1)[:, None] * part[..., None]
    solved = torch.cholesky_solve(right, factor) * inverse[:, None, :, None]
    P, Q = (solved * part[..., None]).unbind(-1)
    A, B, K = P.sum(-1), Q.sum(-1), (Q * h[:, None]).sum(-1)
    inside = B**2 - A * (K - phi[:, None])
    root = inside.clamp(min=0).sqrt()
    usable = (info == 0) & (inside > 0) & (A > 0)
    u = (((B + root) / torch.where(usable, A, 1.0))[..., None] * P - Q) / torch.where(usable, root, 1.0)[..., None]
    total = u.sum(-1, keepdim=True)
    usable = usable & (u >= 0).all(-1) & (total[..., 0] > 0)
    u = torch.where(usable[..., None], u / torch.where(usable[..., None], total, 1.0), 0.0)
    value = (u * h[:, None]).sum(-1) + (phi[:, None] * squared_norm(G[:, None], u).clamp(min=0)).sqrt()
    value = torch.where(usable, value, torch.inf)
    at = value.argmin(-1)[:, None, None].expand(-1, 1, G.shape[-1])
    found = u.gather(1, at)[:, 0]
    # No support is regular at a point whose hull contains 0: the min-norm weights then attain the value 0.
    found = torch.where(value.isfinite().any(-1, keepdim=True), found, 1 / G.shape[-1])
    return _or_min_norm(Inner(G, h, phi, phi), found)


def by_shift(inner: Inner) -> Tensor:
    """Bisection for t = ‖g_u‖/√φ, where u are the min-norm weights of the rows g_i + t g_0 (the left side rises, the right one does not)."""
    G, radius = inner.G, inner.phi.sqrt()
    high = torch.log(G.diagonal(dim1=-2, dim2=-1).amax(-1).clamp(min=1e-300).sqrt() / radius) + 1
    low = high - REACH
    u = min_norm(G)
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        t = middle.exp()[..., None]
        shifted = (
            G
            + t[..., None] * (inner.h[..., :, None] + inner.h[..., None, :])
            + (t**2 * inner.size[..., None])[..., None]
        )
        u = min_norm(shifted)
        above = squared_norm(G, u).clamp(min=0).sqrt() / radius > middle.exp()
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
        spread = numbers(high - low)
        if spread is not None and float(spread.max()) < 1e-14:
            break
    return _or_min_norm(inner, u)


def _or_min_norm(inner: Inner, u: Tensor) -> Tensor:
    """The point, or the min-norm one where that is no worse to within rounding: g_u = 0 is approached by no sequence of supports."""
    least = min_norm(inner.G)
    values = [(v * inner.h).sum(-1) + (inner.phi * squared_norm(inner.G, v).clamp(min=0)).sqrt() for v in (u, least)]
    noise = 1e-14 * (inner.phi.sqrt() + inner.h.abs().amax(-1))
    return torch.where((values[1] <= values[0] + noise)[..., None], least, u)
