"""The active-set method for non-negative quadratic programmes whose rows may be dependent."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._checks import settled

EPS = torch.finfo(torch.float64).eps


class _State(NamedTuple):
    """A feasible point, its support, the index that entered last, and the indices found dependent on the support."""

    z: Tensor
    inside: Tensor
    entered: Tensor
    banned: Tensor
    done: Tensor


def active_set(C: Tensor, r: Tensor) -> Tensor:
    """``argmin ½ zᵀCz + rᵀz`` over z ≥ 0 for a stack ``[n, m, m]`` with unit diagonals.

    One index enters at a time, and an index whose row depends on the support has a zero gradient there and so never enters: duplicated
    rows, zero in the hull and rank deficiency need no regularisation. The objective falls at every exchange.
    """
    n, m = r.shape
    nothing = torch.zeros_like(r, dtype=torch.bool)
    state = _State(torch.zeros_like(r), nothing, nothing, nothing, r.new_zeros(n, dtype=torch.bool))
    state = _entered(state, C, r, r.new_ones(n, dtype=torch.bool))
    for _ in range(8 * m):
        if settled(~state.done):
            break
        state = _exchange(state, C, r)
    return state.z


def _exchange(state: _State, C: Tensor, r: Tensor) -> _State:
    """Move towards the support's stationary point; at a bound drop what reached zero, at the point let the next index enter."""
    part = state.inside.to(C.dtype)
    masked = C * part[:, :, None] * part[:, None, :]
    masked.diagonal(dim1=-2, dim2=-1).add_(1 - part)
    factor, info = torch.linalg.cholesky_ex(masked)
    s = torch.cholesky_solve((-r * part)[:, :, None], factor)[:, :, 0] * part
    s = torch.where((info == 0)[:, None], s, 0.0)
    # The entering index must grow; if it cannot, its row depends on the support to within rounding.
    stuck = (info > 0) | (state.entered & (s <= 0)).any(-1)
    blocked = state.inside & (s <= 0) & ~stuck[:, None]
    ratio = torch.where(blocked, state.z / torch.where(blocked, state.z - s, 1.0), torch.inf)
    step = ratio.amin(-1, keepdim=True).clamp(max=1.0)
    moved = state.z + step * (s - state.z)
    leaving = blocked & (ratio <= step)
    open_ = ~state.done
    whole = open_ & ~stuck & ~blocked.any(-1)
    z = torch.where((open_ & ~stuck)[:, None], torch.where(leaving, 0.0, moved), state.z)
    z = torch.where(whole[:, None], s, z)
    refused = state.entered & (open_ & stuck)[:, None]
    inside = state.inside & ~(leaving & open_[:, None]) & ~refused
    banned = (
        torch.where((leaving & open_[:, None]).any(-1, keepdim=True), torch.zeros_like(refused), state.banned) | refused
    )
    entered = state.entered & ~refused & ~whole[:, None]
    after = _State(z, inside, entered, banned, state.done)
    return _entered(after, C, r, whole | (open_ & stuck))


def _entered(state: _State, C: Tensor, r: Tensor, ready: Tensor) -> _State:
    """Where ready: the index of steepest descent joins the support, or, if none descends beyond rounding, the programme is done."""
    m = r.shape[-1]
    y = (C @ state.z[:, :, None])[:, :, 0] + r
    noise = 4 * m * EPS * ((C.abs() @ state.z.abs()[:, :, None])[:, :, 0] + r.abs())
    descends = ~state.inside & ~state.banned & (y < -noise)
    steepest = torch.where(descends, y, torch.inf).argmin(-1, keepdim=True)
    chosen = torch.zeros_like(descends).scatter(-1, steepest, value=True) & descends & ready[:, None]
    entered = torch.where(ready[:, None], chosen, state.entered)
    return state._replace(inside=state.inside | chosen, entered=entered, done=state.done | (ready & ~descends.any(-1)))
