"""Non-negative quadratic programmes on a Gramian: the one kernel behind most weightings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from scipy.linalg import get_lapack_funcs
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._active_set import active_set
from ._checks import numbers, settled
from ._lanes import in_lanes
from ._pivot_lanes import ITEMS, WORTHWHILE, Pivoted, pivot_lanes

EPS = float(np.finfo(np.float64).eps)
ENUMERABLE = 8
SOLVE = cast("Callable[..., Any]", get_lapack_funcs("posv", dtype=np.float64))
PATIENCE = 3
DEPENDENT = (
    1e-5  # a pivot below this leaves too few digits for a factorisation that does not look at signs: one by one then
)
CHUNK = 2048  # programmes solved together where the batch is the first axis: what the second-level cache holds at m = 8


class Scaled(NamedTuple):
    """A programme with rows brought to norms in [½, 1): ``gramian = D cosines D``, ``linear = D linear'``, solution ``D⁻¹ solution'``."""

    cosines: Tensor
    linear: Tensor
    inverse: Tensor


def scaled(gramian: Tensor, linear: Tensor) -> Scaled:
    """The programme in near-cosines, the scale a power of two so that nothing is rounded; a zero row touches nothing and has y = 0."""
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    live = norms > 0
    inverse = torch.where(live, torch.ldexp(torch.ones_like(norms), -torch.frexp(norms).exponent), 0.0)
    cosines = gramian * inverse[..., :, None] * inverse[..., None, :]
    cosines.diagonal(dim1=-2, dim2=-1).add_(~live)
    return Scaled(cosines, linear * inverse, inverse)


def nnqp(gramian: Tensor, linear: Tensor) -> Tensor:
    r"""The minimiser of a convex quadratic over the non-negative orthant, exactly.

    .. math:: z = \arg\min_{z \ge 0} \tfrac12 z^\top G z + q^\top z, \qquad y = Gz + q \ge 0, \; z^\top y = 0

    Block principal pivoting on the cosines, then, for items where it does not end, an active-set method that copes with dependent rows.
    Signs are decided against the rounding error of each entry, never against a fixed tolerance, so rows may differ by many decades.
    Programmes unbounded below (q outside G's range) have no minimiser: the answer then violates y ≥ 0, which ``certify_nnqp`` shows.

    Shape: gramian ``[*batch, m, m]``, linear ``[*batch, m]`` (broadcast against each other), result ``[*batch, m]``.

    :raises ArgumentError: another shape or type than float64.

    Source: Júdice & Pires 1994 (pivoting), Lawson & Hanson 1974 (active set); componentwise thresholds derived here.

    >>> nnqp(torch.eye(2, dtype=torch.float64), torch.tensor([-1.0, 2.0], dtype=torch.float64)).tolist()
    [1.0, 0.0]
    """
    _checked(gramian, linear)
    problem = scaled(gramian, linear)
    return solve_scaled(problem.cosines, problem.linear) * problem.inverse


def _checked(gramian: Tensor, linear: Tensor) -> None:
    """Shapes and types; never the values."""
    if gramian.ndim < 2 or gramian.shape[-1] != gramian.shape[-2] or gramian.dtype != torch.float64:
        raise ArgumentError(
            f"gramian: expected float64 of shape [*batch, m, m], found {gramian.dtype} {list(gramian.shape)}"
        )
    if linear.shape[-1:] != gramian.shape[-1:] or linear.dtype != torch.float64:
        raise ArgumentError(
            f"linear: expected float64 of shape [*batch, {gramian.shape[-1]}], found {linear.dtype} {list(linear.shape)}"
        )


def solve_scaled(cosines: Tensor, linear: Tensor) -> Tensor:
    """``nnqp`` for a matrix whose diagonal is near one."""
    m = linear.shape[-1]
    if cosines.ndim == 2 and linear.ndim == 1:
        one, vector = numbers(cosines), numbers(linear)
        if one is not None and vector is not None:
            found = pivot_one(one, vector)
            if found is not None:
                return torch.from_numpy(found)
    batch = torch.broadcast_shapes(cosines.shape[:-2], linear.shape[:-1])
    flat = cosines.expand(*batch, m, m).reshape(-1, m, m)
    right = linear.expand(*batch, m).reshape(-1, m)
    return _many(flat, right).reshape(*batch, m)


def _many(C: Tensor, r: Tensor) -> Tensor:
    """A stack ``[n, m, m]``, in lanes where the host has enough of them."""
    if len(r) < WORTHWHILE or numbers(C) is None:
        return torch.cat([pivot_many(*part) for part in zip(C.split(CHUNK), r.split(CHUNK), strict=True)])
    parts = zip(C.split(ITEMS), r.split(ITEMS), strict=True)
    return _finished(C, r[:, None], [pivot_lanes(in_lanes(matrix), in_lanes(right)) for matrix, right in parts])[:, 0]


def _finished(C: Tensor, r: Tensor, found: list[Pivoted]) -> Tensor:
    """The solutions ``[n, k, m]`` of k programmes a matrix, those that lanes left open solved together from where they were left."""
    n, k, m = r.shape
    z, done, inside = (torch.cat(parts, -1) for parts in zip(*found, strict=True))
    z = z.reshape(m, k, n).permute(2, 1, 0).contiguous()
    left = np.flatnonzero(~done.numpy())
    if len(left):
        which, at = (torch.from_numpy(place) for place in divmod(left, n))
        z[at, which] = pivot_many(C[at], r[at, which], inside[:, torch.from_numpy(left)].mT)
    return z


def solve_rows(cosines: Tensor) -> Tensor:
    """For each matrix ``[*batch, m, m]`` the m programmes whose linear terms are its rows, as the rows of the result."""
    m = cosines.shape[-1]
    C = cosines.reshape(-1, m, m)
    if len(C) < WORTHWHILE or numbers(C) is None:
        return solve_scaled(cosines[..., None, :, :], cosines)
    lanes = [in_lanes(part) for part in C.split(ITEMS)]
    # Several rows' programmes together, while they are few: a call costs what a few hundred items do.
    together = max(1, ITEMS // len(C))
    found = [
        pivot_lanes(part.repeat(1, 1, len(rows)), torch.cat(rows, -1))
        for i in range(0, m, together)
        for part in lanes
        for rows in (part[i : i + together].unbind(),)
    ]
    return _finished(C, C, found).reshape(cosines.shape)


def pivot_one(C: np.ndarray, r: np.ndarray) -> np.ndarray | None:
    """Block principal pivoting for one programme on the host; None if a support is dependent or the pivots do not end."""
    m = len(r)
    inside, patience, best = r < 0, PATIENCE, m + 1
    magnitudes = np.abs(C)
    for _ in range(4 * m):
        z = np.zeros(m)
        support = inside.nonzero()[0]
        if support.size:
            block = C if support.size == m else C[support[:, None], support]
            _, part, info = SOLVE(block, -r[support])
            if info:
                return None
            z[support] = part
        noise = 4 * m * EPS * (magnitudes @ np.abs(z) + np.abs(r))
        wrong = np.where(inside, z < 0, C @ z + r < -noise)
        count = int(wrong.sum())
        if count == 0:
            return z
        if count < best:
            best, patience, flip = count, PATIENCE, wrong
        elif patience:
            patience, flip = patience - 1, wrong
        else:  # Murty's rule, finite for positive definite matrices
            flip = np.arange(m) == wrong.nonzero()[0][-1]
        inside = inside ^ flip
    return None


def pivot_rows(C: np.ndarray) -> np.ndarray | None:
    """Block principal pivoting for all m programmes whose linear term is a row of C, together; None as in ``pivot_one``."""
    m = len(C)
    whole, magnitudes = np.eye(m), np.abs(C)
    inside, patience, best = C < 0, np.full(m, PATIENCE), np.full(m, m + 1)
    for _ in range(4 * m):
        both = inside[:, :, None] & inside[:, None, :]
        masked = np.where(both, C, whole)
        try:
            factor = np.linalg.cholesky(masked)
        except np.linalg.LinAlgError:
            return None
        if factor.diagonal(axis1=1, axis2=2).min() < DEPENDENT:
            return None
        z = np.where(inside, np.linalg.solve(masked, np.where(inside, -C, 0.0)[:, :, None])[:, :, 0], 0.0)
        noise = 4 * m * EPS * (np.abs(z) @ magnitudes + magnitudes)
        wrong = np.where(inside, z < 0, z @ C + C < -noise)
        count = wrong.sum(1)
        if not count.any():
            return z
        better = count < best
        last = m - 1 - wrong[:, ::-1].argmax(1)
        single = wrong & (np.arange(m) == last[:, None])
        inside = inside ^ np.where((better | (patience > 0))[:, None], wrong, single)
        patience = np.where(better, PATIENCE, np.maximum(patience - 1, 0))
        best = np.where(better, count, best)
    return None


class _Rounds(NamedTuple):
    """What block principal pivoting knows of each unfinished programme."""

    C: Tensor
    r: Tensor
    inside: Tensor
    patience: Tensor
    best: Tensor


def pivot_many(C: Tensor, r: Tensor, inside: Tensor | None = None) -> Tensor:
    """Block principal pivoting for a stack ``[n, m, m]``; on the CPU finished programmes leave the stack, elsewhere all rounds run.

    :param inside: the supports to start from; None is where r < 0.
    """
    n, m = r.shape
    solution, solved = torch.zeros_like(r), torch.zeros_like(r[:, 0], dtype=torch.bool)
    rounds = _Rounds(C, r, r < 0 if inside is None else inside, r.new_full((n,), PATIENCE), r.new_full((n,), m + 1))
    rows: Tensor | None = None
    for _ in range(4 * m):
        rounds, z, done = _pivot_round(rounds)
        if rows is None:
            solution = torch.where((done & ~solved)[:, None], z, solution)
            solved = solved | done
        else:
            solution[rows] = torch.where(done[:, None], z, solution[rows])
            solved[rows] = done
        if settled(~solved):
            return solution
        left = _open_rows(done)
        if left is not None:
            rows = left if rows is None else rows[left]
            rounds = _Rounds(*(part[left] for part in rounds))
    return _resolved(C, r, solution, solved)


def _open_rows(done: Tensor) -> Tensor | None:
    """Indices still open, where the host may know them."""
    known = numbers(done)
    return None if known is None else torch.from_numpy(np.flatnonzero(~known))


def _resolved(C: Tensor, r: Tensor, solution: Tensor, solved: Tensor) -> Tensor:
    """The solution with the open programmes handed to the active-set method (all of them where the host cannot pick)."""
    rest = _open_rows(solved)
    if rest is None:
        return torch.where(solved[:, None], solution, active_set(C, r))
    solution[rest] = active_set(C[rest], r[rest])
    return solution


def _pivot_round(now: _Rounds) -> tuple[_Rounds, Tensor, Tensor]:
    """One solve on the current supports and the exchange that follows from its wrong signs."""
    m = now.r.shape[-1]
    z, regular = support_solve(now.C, now.r, now.inside)
    y = (now.C @ z[:, :, None])[:, :, 0] + now.r
    noise = 4 * m * EPS * ((now.C.abs() @ z.abs()[:, :, None])[:, :, 0] + now.r.abs())
    wrong = torch.where(now.inside, z < 0, y < -noise)
    count = wrong.sum(-1)
    better, patient = count < now.best, now.patience > 0
    places = torch.arange(1, m + 1, device=z.device)
    single = wrong & (places == (wrong * places).amax(-1, keepdim=True))
    flip = torch.where((better | patient)[:, None], wrong, single)
    patience = torch.where(better, float(PATIENCE), (now.patience - 1).clamp(min=0))
    best = torch.where(better, count.to(z.dtype), now.best)
    return _Rounds(now.C, now.r, now.inside ^ flip, patience, best), z.clamp(min=0), regular & (count == 0)


def support_solve(C: Tensor, r: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Stationary points on the given supports, and whether the support's rows are independent (one Cholesky each)."""
    part = inside.to(C.dtype)
    masked = C * part[:, :, None] * part[:, None, :]
    masked.diagonal(dim1=-2, dim2=-1).add_(1 - part)
    factor, info = torch.linalg.cholesky_ex(masked)
    z = torch.cholesky_solve((-r * part)[:, :, None], factor)[:, :, 0]
    return torch.where((info == 0)[:, None] & inside, z, 0.0), info == 0


def nnqp_by_enumeration(gramian: Tensor, linear: Tensor) -> Tensor:
    r"""The same minimiser by trying all 2^m supports and keeping the one with the smallest violation: slow, finite, the reference.

    Supports with dependent rows are skipped; by Carathéodory an independent one attains the optimum.

    :raises ArgumentError: more than 8 objectives.

    >>> nnqp_by_enumeration(torch.eye(2, dtype=torch.float64), torch.tensor([-1.0, 2.0], dtype=torch.float64)).tolist()
    [1.0, 0.0]
    """
    m = linear.shape[-1]
    if m > ENUMERABLE:
        raise ArgumentError(f"nnqp_by_enumeration: expected at most {ENUMERABLE} objectives, found {m}")
    problem = scaled(gramian, linear)
    supports = all_supports(m, gramian.device)
    batch = torch.broadcast_shapes(problem.cosines.shape[:-2], problem.linear.shape[:-1])
    C = problem.cosines.expand(*batch, m, m)[..., None, :, :].expand(*batch, len(supports), m, m)
    r = problem.linear.expand(*batch, m)[..., None, :].expand(*batch, len(supports), m)
    inside = supports.expand(*batch, len(supports), m)
    z, regular = support_solve(C.reshape(-1, m, m), r.reshape(-1, m), inside.reshape(-1, m))
    z = z.reshape(r.shape)
    y = (C @ z[..., None])[..., 0] + r
    noise = (C.abs() @ z.abs()[..., None])[..., 0] + r.abs()
    wrong = torch.where(inside, -z / z.abs().amax(-1, keepdim=True).clamp(min=1e-300), -y / noise.clamp(min=1e-300))
    violation = torch.where(regular.reshape(r.shape[:-1]), wrong.amax(-1), torch.inf)
    best = violation.argmin(-1)[..., None, None].expand(*batch, 1, m)
    return z.gather(-2, best)[..., 0, :].clamp(min=0) * problem.inverse


def all_supports(m: int, device: torch.device) -> Tensor:
    """The 2^m subsets as rows of a mask, the empty one first."""
    return (torch.arange(2**m, device=device)[:, None] >> torch.arange(m, device=device)) % 2 == 1
