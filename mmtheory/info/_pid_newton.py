"""Thousands of small decompositions at once: a primal–dual interior-point method on the dual of the information minimisation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._pid_system import Marginals, NewtonMatrix, total

_MOST_STEPS, _MOST_SHORTENINGS = 32, 14
_BACK_OFF, _MOST_CLIMB, _LEAST_SPREAD, _TINY = 0.995, 8.0, 1e-4, 1e-300
_HUGE = 1e300


@dataclass
class _State:
    """Dual variables a [n, y, x1] and b [n, y, x2], multipliers and slacks of the cells [n, x1, x2], length of the last step [n]."""

    a: Tensor
    b: Tensor
    mass: Tensor
    slack: Tensor
    stride: Tensor


def minimise(marginals: Marginals, *, tolerance: float = 1e-11) -> tuple[Tensor, Tensor, Tensor]:
    r"""Near-optimal dual variables (a, b) and coupling q of

    .. math:: \min_q \sum q \ln\frac{q(x_1,x_2,y)}{q(x_1,x_2)} = \max_{a,b}\Big\{\langle P_1, a\rangle + \langle P_2, b\rangle :
              \massy e^{a_y(x_1)+b_y(x_2)} \le 1\Big\}

    The multiplier of cell (x1, x2) is its mass under q, and the softmax of a + b is q(y | x1, x2). Mehrotra's predictor and corrector on the
    logarithms of the constraints; the a-block, block-diagonal in x1, is eliminated. Nothing here certifies: see
    :func:`~mmtheory.info._pid_certificate.certify`.

    Shape: a [n, y, x1], b [n, y, x2], q [n, x1, x2, y].

    :param tolerance: complementarity at which a table is finished.

    Source: derived here (dual and its certificate: performance study §3; Bertschinger et al. 2014 for the primal, known).
    """
    support = marginals.support
    state = _start(marginals)
    left = torch.arange(len(support), device=support.device)
    done = _State(state.a.clone(), state.b.clone(), state.mass.clone(), state.slack.clone(), state.stride.clone())
    here = marginals
    for _ in range(_MOST_STEPS):
        finished = _step(here, state, tolerance)
        if bool(finished.any()):
            _put(done, left, state)
            keep = ~finished
            left, here = left[keep], here.rows(keep)
            state = _State(state.a[keep], state.b[keep], state.mass[keep], state.slack[keep], state.stride[keep])
            if not len(left):
                break
    _put(done, left, state)
    share, _ = _shares(done, marginals)
    return done.a, done.b, done.mass[..., None] * share


def _put(done: _State, index: Tensor, state: _State) -> None:
    for name in ("a", "b", "mass", "slack", "stride"):
        getattr(done, name)[index] = getattr(state, name)


def _start(marginals: Marginals) -> _State:
    """The product coupling, which is feasible, with the dual variables that reproduce it."""
    q, cells = marginals.product, marginals.cells
    log = [torch.where(p > 0, p.clamp(min=_TINY).log(), 0.0) for p in (marginals.first, marginals.second)]
    label = marginals.first.sum(-1)
    rows = marginals.first.sum(1).clamp(min=_TINY).log()
    columns = marginals.second.sum(1).clamp(min=_TINY).log()
    a = log[0] - rows[:, None]
    b = log[1] - columns[:, None] - torch.where(label > 0, label.clamp(min=_TINY).log(), 0.0)[..., None]
    mass = torch.where(cells, q.sum(-1), 0.0)
    state = _State(a, b, mass, torch.ones_like(mass), torch.ones_like(mass[:, 0, 0]))
    _, value = _shares(state, marginals)
    a -= torch.where(cells, value, -torch.inf).amax(-1).nan_to_num(neginf=0.0)[:, None] + 0.5
    _, value = _shares(state, marginals)
    state.slack = torch.where(cells, -value, 1.0)
    return state


def _pairs(a: Tensor, b: Tensor) -> Tensor:
    """a_y(x1) + b_y(x2) on [n, x1, x2, y]."""
    return a.mT[:, :, None, :] + b.mT[:, None, :, :]


def _shares(state: _State, marginals: Marginals) -> tuple[Tensor, Tensor]:
    """q(y | x1, x2) by softmax of a + b over the supported y, and the logarithm of each constraint."""
    cell = _pairs(state.a, state.b) + marginals.barred
    top = cell.amax(-1).clamp(min=-_HUGE)
    weight = (cell - top[..., None]).exp()
    mass = total(weight, -1).clamp(min=_TINY)
    share = weight / mass[..., None]
    value = torch.where(marginals.cells, top + mass.log(), 0.0)
    return share, value


def _step(marginals: Marginals, state: _State, tolerance: float) -> Tensor:
    """One predictor–corrector step in place; which tables are finished."""
    support, cells = marginals.support, marginals.cells
    share, _ = _shares(state, marginals)
    count = cells.sum((-2, -1))
    gap = (state.mass * state.slack * cells).sum((-2, -1))
    finished = _finished(marginals, state.mass[..., None] * share, gap, tolerance)
    matrix = NewtonMatrix(marginals, share, state.mass, state.slack)

    def direction(target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The Newton direction towards mass · slack = target."""
        da, db = matrix.solve(torch.where(cells, target / state.slack, 0.0))
        ds = -total(share * _pairs(da, db), -1)
        dm = torch.where(cells, (target - state.mass * state.slack - state.mass * ds) / state.slack, 0.0)
        return da, db, dm, ds

    mean = gap / count
    _, _, dm, ds = direction(torch.zeros_like(state.mass))
    ahead_m, ahead_s = _reach(state.mass, dm, cells), _reach(state.slack, ds, cells)
    ahead = (state.mass + ahead_m[:, None, None] * dm) * (state.slack + ahead_s[:, None, None] * ds)
    ratio = ((ahead * cells).sum((-2, -1)) / gap.clamp(min=_TINY)).clamp(1e-3, 1.0)
    # After a short step the point lies badly: go back towards the central path, without the second-order term.
    short = state.stride < 0.3
    centre = torch.where(short, 0.5, ratio**3) * mean
    bend = torch.where(short, 0.0, ahead_m * ahead_s)
    da, db, dm, ds = direction(torch.where(cells, centre[:, None, None] - bend[:, None, None] * dm * ds, 0.0))
    stride = torch.minimum(_reach(state.mass, dm, cells), _reach(state.slack, ds, cells))
    climb = (_pairs(da, db).abs() * support).flatten(1).amax(1)
    stride = torch.minimum(stride, _MOST_CLIMB / climb.clamp(min=_TINY))
    _move(marginals, state, (da, db, dm), torch.where(finished | ~stride.isfinite(), 0.0, stride))
    return finished


def _finished(marginals: Marginals, q: Tensor, gap: Tensor, tolerance: float) -> Tensor:
    """Whether complementarity and marginals are met; far below the tolerance only rounding moves, so that is an end as well."""
    rows = (marginals.first - total(q, -2).mT).abs().sum((-2, -1))
    columns = (marginals.second - total(q, -3).mT).abs().sum((-2, -1))
    return ((gap < tolerance) & (rows + columns < tolerance)) | (gap < 1e-3 * tolerance)


def _move(marginals: Marginals, state: _State, direction: tuple[Tensor, Tensor, Tensor], stride: Tensor) -> None:
    """Go along the direction, shortening the stride until every slack stays positive and no cell falls far behind the others."""
    cells = marginals.cells
    spread = _spread(state.mass * state.slack, cells)
    floor = (0.5 * spread).clamp(max=_LEAST_SPREAD)
    trial = state
    for k in range(_MOST_SHORTENINGS + 1):
        trial = _ahead(marginals, state, direction, stride)
        good = (trial.slack > 0.002 * state.slack).all(-1).all(-1) & (_spread(trial.mass * trial.slack, cells) >= floor)
        if bool((good | (stride <= 0)).all()):
            break
        stride = torch.where(good, stride, (0.6 if k < _MOST_SHORTENINGS else 0.0) * stride)
    else:
        trial = _ahead(marginals, state, direction, stride)
    state.a, state.b, state.mass, state.slack, state.stride = trial.a, trial.b, trial.mass, trial.slack, stride


def _ahead(marginals: Marginals, state: _State, direction: tuple[Tensor, Tensor, Tensor], stride: Tensor) -> _State:
    """The point a stride along the direction; a stride of 0 stays even where the direction is not finite."""
    a, b, mass = (
        old + torch.where((stride > 0)[:, None, None], stride[:, None, None] * move, 0.0)
        for old, move in zip((state.a, state.b, state.mass), direction, strict=True)
    )
    point = _State(a, b, mass, state.slack, stride)
    _, value = _shares(point, marginals)
    point.slack = torch.where(marginals.cells, -value, 1.0)
    return point


def _spread(product: Tensor, cells: Tensor) -> Tensor:
    """The least of mass · slack over cells, as a share of their mean."""
    mean = (product * cells).sum((-2, -1)) / cells.sum((-2, -1))
    return torch.where(cells, product, torch.inf).amin((-2, -1)) / mean.clamp(min=_TINY)


def _reach(value: Tensor, move: Tensor, cells: Tensor) -> Tensor:
    """The longest step up to 1 that keeps every cell positive, a little short of it."""
    ratio = torch.where(cells & (move < 0), -value / move.clamp(max=-_TINY), torch.inf).amin((-2, -1))
    return (_BACK_OFF * ratio).clamp(max=1.0)
