"""Capped MGDA: min-norm weights none of which exceeds a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, certify_bounded
from ._checks import numbers, settled, within
from ._min_norm import lifted, min_norm
from ._nnqp import SOLVE
from ._weighting import Weighting

PAIR = 2
EPS = torch.finfo(torch.float64).eps


@final
@dataclass(frozen=True)
class CappedMGDA(Weighting):
    r"""The shortest vector among convex combinations whose weights stay at or below a cap.

    .. math:: w = \arg\min \{ w^\top G w : w \in \Delta, \; w \le \mathrm{cap} \}

    :param cap: 1 is MGDA, 1/m the mean.
    :raises ArgumentError: a cap outside (0, 1], or below 1/m for this Gramian.

    Source: arXiv:2605.30452 (paper); the active-set method is derived here.

    >>> CappedMGDA(cap=0.625).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.625, 0.375]
    """

    name: ClassVar[str] = "capped-mgda"
    degree: ClassVar[float | None] = 0.0

    cap: float = 0.5

    def __post_init__(self) -> None:
        within("cap", self.cap, 0.0, 1.0, open_low=True)

    def solve(self, gramian: Tensor) -> Tensor:
        m = gramian.shape[-1]
        if self.cap * m < 1 - 1e-12:
            raise ArgumentError(f"cap: expected at least 1/{m} for {m} objectives, found {self.cap}")
        if m == PAIR:
            return min_norm(gramian).clamp(1 - self.cap, self.cap)
        one = numbers(gramian) if gramian.ndim == PAIR else None
        found = None if one is None else _bounded_one(one, self.cap)
        if found is not None:
            return torch.from_numpy(found)
        flat = gramian.reshape(-1, m, m)
        if numbers(flat) is None:
            return _bounded(flat, self.cap).reshape(gramian.shape[:-1])
        # Where no weight of MGDA exceeds the cap, that is the answer.
        w = min_norm(flat)
        tight = w.amax(-1) > self.cap
        w[tight] = _bounded(flat[tight], self.cap)
        return w.reshape(gramian.shape[:-1])

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        return certify_bounded(gramian, weights, self.cap)


def _bounded_one(G: np.ndarray, cap: float) -> np.ndarray | None:
    """Exchange of whole sets for one Gramian on the host; None if a set of free rows is dependent or the exchanges do not end."""
    m, kappa = len(G), G.diagonal().min()
    w = lifted(G) if kappa > 0 else None
    if w is None or w.max() <= cap:
        return w
    raised = G + kappa
    at_cap, free = w > cap, (w > 0) & (w <= cap)
    for _ in range(4 * m):
        at = free.nonzero()[0]
        w = cap * at_cap
        if not at.size:
            return None
        pull = raised[at] @ w
        _, solved, info = SOLVE(raised[at[:, None], at], np.stack((np.ones(at.size), pull), 1))
        if info:
            return None
        one, drawn = solved.T
        level = (1 - w.sum() + drawn.sum()) / one.sum()
        w[at] = level * one - drawn
        slopes = raised @ w
        noise = 8 * m * EPS * (np.abs(raised) @ np.abs(w))
        low, high = free & (w < 0), free & (w > cap)
        back = (at_cap & (slopes > level + noise)) | (~at_cap & ~free & (slopes < level - noise))
        if not (low | high | back).any():
            return w
        at_cap, free = (at_cap & ~back) | high, (free & ~low & ~high) | back
    return None


class _State(NamedTuple):
    """Weights, which of them are free, which index was freed last, which may not be freed, and which programmes are done."""

    w: Tensor
    free: Tensor
    freed: Tensor
    banned: Tensor
    done: Tensor


def _bounded(gramian: Tensor, cap: float) -> Tensor:
    """A primal active-set method on a stack: move to the stationary point of the free weights, stop at the first bound, free the best."""
    n, m = gramian.shape[:2]
    size = gramian.diagonal(dim1=-2, dim2=-1).amax(-1)
    G = gramian / torch.where(size > 0, size, 1.0)[:, None, None]
    order = G.diagonal(dim1=-2, dim2=-1).argsort(-1)
    mass = torch.arange(m, dtype=G.dtype, device=G.device) * cap
    greedy = (1 - mass).clamp(min=0, max=cap).expand(n, m)
    w = torch.zeros_like(greedy).scatter(-1, order, greedy)
    nothing = torch.zeros_like(w, dtype=torch.bool)
    # One weight between its bounds must be free for the sum to be kept; the last that carries mass is.
    last = ((w > 0) * (order.argsort(-1) + 1)).argmax(-1, keepdim=True)
    state = _State(w, nothing.scatter(-1, last, value=True), nothing, nothing, size <= 0)
    lift = G.diagonal(dim1=-2, dim2=-1).amin(-1)
    lifted = G + torch.where(lift > 0, lift, 1.0)[:, None, None]
    for _ in range(12 * m):
        if settled(~state.done):
            break
        state = _exchange(state, lifted, G, cap)
    return state.w


def _exchange(state: _State, lifted: Tensor, G: Tensor, cap: float) -> _State:
    """One move and what follows from it."""
    part = state.free.to(G.dtype)
    masked = lifted * part[:, :, None] * part[:, None, :]
    masked.diagonal(dim1=-2, dim2=-1).add_(1 - part)
    factor, info = torch.linalg.cholesky_ex(masked)
    fixed = state.w * (1 - part)
    pull = (lifted @ fixed[:, :, None])[:, :, 0]
    right = torch.stack((part, pull * part), -1)
    one, drawn = (torch.cholesky_solve(right, factor) * part[..., None]).unbind(-1)
    share = (1 - fixed.sum(-1) + drawn.sum(-1)) / one.sum(-1)
    goal = torch.where(state.free, share[:, None] * one - drawn, state.w)
    alone = part.sum(-1) <= 1  # the sum leaves a single free weight nowhere to go
    goal = torch.where(((info > 0) | alone)[:, None], state.w, goal)
    delta = goal - state.w
    # A freed weight must move off its bound; one that cannot depends on the free rows.
    wrong_way = torch.where(state.w > cap / 2, delta >= 0, delta <= 0)
    stuck = (info > 0) | ((state.freed & wrong_way).any(-1) & ~alone)
    below, above = state.free & (goal < 0), state.free & (goal > cap)
    room = torch.where(below, -state.w, torch.where(above, cap - state.w, torch.inf))
    ratio = torch.where(below | above, room / torch.where(delta == 0, 1.0, delta), torch.inf).clamp(min=0)
    step = ratio.amin(-1, keepdim=True).clamp(max=1.0)
    hit = (below | above) & (ratio <= step)
    go = (~state.done & ~stuck)[:, None]
    moved = torch.where(hit & below, 0.0, torch.where(hit & above, cap, state.w + step * delta))
    w = torch.where(go, moved, state.w)
    whole = go[:, 0] & ~(below | above).any(-1)
    refused = state.freed & (~state.done & stuck)[:, None]
    hit = hit & go
    free = state.free & ~hit & ~refused
    banned = torch.where(hit.any(-1, keepdim=True), torch.zeros_like(hit), state.banned) | refused
    freed = state.freed & ~refused & ~whole[:, None] & ~(go & (step > 0))
    return _freed(
        _State(w, free, freed, banned, state.done), G, cap, whole | (~state.done & stuck) | (go[:, 0] & ~free.any(-1))
    )


def _freed(state: _State, G: Tensor, cap: float, ready: Tensor) -> _State:
    """Where ready: free the bound weight with the most to gain, or be done."""
    m = state.w.shape[-1]
    slopes = (G @ state.w[:, :, None])[:, :, 0]
    noise = 8 * m * EPS * (G.abs() @ state.w[:, :, None])[:, :, 0]
    level = torch.where(state.free, slopes, 0.0).sum(-1, keepdim=True) / state.free.sum(-1, keepdim=True).clamp(min=1)
    at_cap = ~state.free & (state.w > cap / 2)
    # With no free weight, any level between the two sides will do; the middle shows whether they cross.
    top = torch.where(at_cap, slopes, -torch.inf).amax(-1, keepdim=True)
    bottom = torch.where(~state.free & ~at_cap, slopes, torch.inf).amin(-1, keepdim=True)
    middle = torch.where(bottom.isfinite(), (top + bottom) / 2, top)
    level = torch.where(state.free.any(-1, keepdim=True), level, middle)
    gain = torch.where(at_cap, slopes - level, level - slopes)
    gain = torch.where(state.free | state.banned | (gain <= noise), -torch.inf, gain)
    chosen = (
        torch.zeros_like(state.free).scatter(-1, gain.argmax(-1, keepdim=True), value=True)
        & (gain > 0)
        & ready[:, None]
    )
    freed = torch.where(ready[:, None], chosen, state.freed)
    return state._replace(free=state.free | chosen, freed=freed, done=state.done | (ready & ~(gain > 0).any(-1)))
