"""CAGrad's inner programme, by following the minimisers of a quadratic along its one parameter."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._certificate import product, squared_norm
from ._checks import numbers, settled
from ._min_norm import lifted, min_norm
from ._nnqp import SOLVE, scaled

EPS = float(np.finfo(np.float64).eps)
ROUNDS = 40


class Inner(NamedTuple):
    r"""The programme :math:`\min_{u \in \Delta} h^\top u + \sqrt{\varphi\, u^\top G u}`, with ``size`` = ‖g_0‖² and φ = c² size > 0.

    Its answer minimises ½uᵀGu + s hᵀu for the s at which ‖g_u‖ = s√φ, and ‖g_u(s)‖/s never rises with s. On one support u(s) = a + sb with
    aᵀGb = 0, so the crossing there is s² = aᵀGa/(φ − bᵀGb): a Newton step that is exact once the support is right.
    """

    G: Tensor
    h: Tensor
    phi: Tensor
    size: Tensor


def path_of_one(inner: Inner) -> Tensor | None:
    """One programme on the host, ``[m]``; None where a support is dependent or the rounds do not end."""
    G, h = numbers(inner.G), numbers(inner.h)
    if G is None or h is None:
        return None
    phi, size, m = float(inner.phi), float(inner.size), len(h)
    diagonal = G.diagonal()
    kappa = float(diagonal[diagonal > 0].min(initial=1.0))
    magnitudes, absolute = np.abs(G), np.abs(h)
    cross = h + h[:, None]
    s, low, high = (size / phi) ** 0.5, 0.0, (float(diagonal.max()) / phi) ** 0.5 * 2
    for _ in range(ROUNDS):
        u = lifted(G + s * cross + s * s * size)
        found = None if u is None else _pieces(G + kappa, h, u > 0)
        if found is None:
            return None
        a, b = found
        start, slope = float(a @ G @ a), float(b @ G @ b)
        new = (max(start, 0.0) / (phi - slope)) ** 0.5 if phi > slope else np.inf
        if new < high * 2:
            u = a + new * b
            slopes = G @ u + new * h
            noise = 8 * m * EPS * (magnitudes @ np.abs(u) + new * absolute)
            if u.min() >= 0 and (slopes + noise >= slopes @ u).all():
                return torch.from_numpy(u / u.sum())
        low, high = (s, high) if start + s * s * slope > s * s * phi else (low, s)
        s = new if low < new < high else (low + high) / 2
    return None


def _pieces(raised: np.ndarray, h: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """a and b on a support, from G + κ11ᵀ, which is regular where the support's rows are affinely independent."""
    at = inside.nonzero()[0]
    inverse = np.ldexp(1.0, -np.frexp(np.sqrt(raised.diagonal()[at]))[1])
    block = raised[at[:, None], at] * inverse * inverse[:, None]
    _, solved, info = SOLVE(block, np.stack((inverse, h[at] * inverse), 1))
    if info:
        return None
    a, b = np.zeros(len(h)), np.zeros(len(h))
    P, Q = solved[:, 0] * inverse, solved[:, 1] * inverse
    a[at] = P / P.sum()
    b[at] = a[at] * Q.sum() - Q
    return a, b


class _State(NamedTuple):
    """The programmes still open: where s is, between what, and the best point so far."""

    inner: Inner
    s: Tensor
    low: Tensor
    high: Tensor


def path_of_many(inner: Inner) -> tuple[Tensor, Tensor]:
    """A stack of programmes ``[n, m]``: their points, and which of them are certain; on the CPU finished ones leave the stack."""
    first = (inner.size / inner.phi).sqrt()
    longest = inner.G.diagonal(dim1=-2, dim2=-1).amax(-1)
    state = _State(inner, first, torch.zeros_like(first), 2 * (longest / inner.phi).sqrt())
    points, certain = torch.zeros_like(inner.h), torch.zeros_like(first, dtype=torch.bool)
    rows: Tensor | None = None
    for _ in range(ROUNDS):
        state, u, done = _round(state)
        if rows is None:
            points, certain = torch.where(certain[:, None], points, u), certain | done
        else:
            points[rows], certain[rows] = u, done
        if settled(~certain):
            break
        known = numbers(done)
        if known is not None:
            left = torch.from_numpy(np.flatnonzero(~known))
            rows = left if rows is None else rows[left]
            state = _State(Inner(*(part[left] for part in state.inner)), *(part[left] for part in state[1:]))
    return points, certain


def _round(state: _State) -> tuple[_State, Tensor, Tensor]:
    """One quadratic programme, the crossing on its support, and whether that is the answer."""
    (G, h, phi, size), s, low, high = state
    shift = s[:, None, None]
    u = min_norm(G + shift * (h[:, :, None] + h[:, None, :]) + shift**2 * size[:, None, None])
    a, b = _pieces_of_many(G, h, u > 0)
    start, slope = squared_norm(G, a).clamp(min=0), squared_norm(G, b)
    open_end = phi > slope
    new = torch.where(open_end, (start / torch.where(open_end, phi - slope, 1.0)).sqrt(), torch.inf)
    reach = torch.where(new < 2 * high, new, 0.0)[:, None]
    point = a + reach * b
    slopes = product(G, point) + reach * h
    noise = 8 * h.shape[-1] * EPS * (product(G.abs(), point.abs()) + reach * h.abs())
    level = (slopes * point).sum(-1, keepdim=True)
    done = (new < 2 * high) & (point >= 0).all(-1) & (slopes + noise >= level).all(-1)
    short = start + s**2 * slope > s**2 * phi
    low, high = torch.where(short, s, low), torch.where(short, high, s)
    after = torch.where((new > low) & (new < high), new, (low + high) / 2)
    return _State(state.inner, after, low, high), torch.where(done[:, None], point, u), done


def _pieces_of_many(G: Tensor, h: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """``_pieces`` for a stack; a dependent support gives a point that no test accepts."""
    diagonal = G.diagonal(dim1=-2, dim2=-1)
    kappa = torch.where(diagonal > 0, diagonal, torch.inf).amin(-1, keepdim=True).nan_to_num(posinf=1.0)
    problem = scaled(G + kappa[..., None], h)
    part = inside.to(G.dtype)
    masked = problem.cosines * part[:, :, None] * part[:, None, :]
    masked.diagonal(dim1=-2, dim2=-1).add_(1 - part)
    factor, info = torch.linalg.cholesky_ex(masked)
    right = torch.stack((problem.inverse, problem.linear), -1) * part[..., None]
    P, Q = (torch.cholesky_solve(right, factor) * (problem.inverse * part)[..., None]).unbind(-1)
    total = P.sum(-1, keepdim=True)
    a = P / torch.where(total > 0, total, 1.0)
    a = torch.where((info == 0)[:, None], a, -1.0)
    return a, torch.where((info == 0)[:, None], a * Q.sum(-1, keepdim=True) - Q, 0.0)


def pair_on_host(gramian: Tensor, c: float) -> tuple[float, float] | None:
    """CAGrad's weights of one pair by the closed form (``of_two``); None for anything else, and where the best worst slope is zero."""
    seen = numbers(gramian) if gramian.shape == (2, 2) else None
    if seen is None:
        return None
    size = float(seen[0, 0] + seen[1, 1])
    if size <= 0 or c == 0:
        return 0.5, 0.5
    first, across, second = (float(v) / size for v in (seen[0, 0], seen[0, 1], seen[1, 1]))
    mean = (first + 2 * across + second) / 4
    phi = c * c * mean
    spread = (first - across) + (second - across)
    if phi <= 0 or spread <= 0:
        return None
    slope = (first - second) / 2
    room = phi * spread - slope * slope
    distance = max(first * second - across * across, 0.0) / spread
    t = -slope * (distance / (spread * room)) ** 0.5 if room > 0 else -math.copysign(math.inf, slope)
    u = min(max((second - across) / spread + t, 0.0), 1.0)
    v = min(max((first - across) / spread - t, 0.0), 1.0)
    square = u * u * first + 2 * u * v * across + v * v * second
    if square <= 32 * EPS * (u * first**0.5 + v * second**0.5) ** 2:
        return None
    bend = (phi / square) ** 0.5
    return 0.5 + bend * u, 0.5 + bend * v
