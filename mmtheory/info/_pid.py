"""The BROJA decomposition of any table, with a certificate."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._decomposition import Decomposition
from ._discrete import checked_table, entropy, information
from ._pid_certificate import certify
from ._pid_cone import certify_one, solve_cone
from ._pid_newton import minimise
from ._pid_system import Marginals

Route = Literal["cone", "newton"]

_CONE_TOLERANCE, _RESCUE_TOLERANCE, _ENOUGH = 4e-9, 1e-12, 1e-9
_SMALL_CELLS, _CHUNK_NUMBERS = 150, 4_000_000


def pid(joint: Tensor, *, route: Route | None = None) -> Decomposition:
    r"""The partial information decomposition of (x1, x2) about y, with a duality gap that bounds the error of every atom.

    .. math:: S = I_p(X_1X_2;Y) - \min_q I_q(X_1X_2;Y), \qquad q(x_1,y) = p(x_1,y),\; q(x_2,y) = p(x_2,y)

    and R, U₁, U₂ from the three consistency equations. The gap does not trust the solver: both sides are repaired to exact feasibility.
    No atom is ever below −gap. One small table goes to an exponential-cone program, a batch or a large table to a batched interior-point
    method, whose stragglers (about one in a thousand, very spiky tables) fall back to the cone program.

    Shape: joint [*batch_shape, x1, x2, y] -> [*batch_shape]. Unit: nat.

    :param route: ``"cone"`` or ``"newton"`` to insist on one solver.
    :raises ArgumentError: not a probability table.

    Source: Bertschinger et al. 2014 (known); dual, certificate and batched solver derived here.

    >>> xor = torch.zeros(2, 2, 2, dtype=torch.float64)
    >>> xor[0, 0, 0] = xor[0, 1, 1] = xor[1, 0, 1] = xor[1, 1, 0] = 0.25
    >>> [round(v, 7) for v in (pid(xor).atoms() / xor.new_tensor(2.0).log()).abs().tolist()]
    [0.0, 0.0, 0.0, 1.0]
    """
    if route != "newton" and (alone := _single(joint)) is not None:
        return alone
    table = checked_table(joint, axes=3, owner="pid")
    if table.numel() == 0:
        raise ArgumentError(f"pid: expected at least one symbol on each axis, found shape {tuple(table.shape)}")
    lead, shape = table.shape[:-3], table.shape[-3:]
    flat = table.reshape(-1, *shape)
    if route is None:
        route = "cone" if len(flat) == 1 and shape.numel() <= _SMALL_CELLS else "newton"
    chunk = max(1, _CHUNK_NUMBERS // (shape.numel() * shape[-1]))
    parts = [_bounds(part, route) for part in flat.split(chunk)]
    lower, upper, coupling = (torch.cat(column) for column in zip(*parts, strict=True))
    first, second = information(flat.sum(-2)), information(flat.sum(-3))
    both = information(flat.flatten(1, 2))
    label = entropy(flat.sum((-3, -2)))
    # Rounding of sums of this many terms; the exact constraints I_q >= I_1, I_2 and I_q <= I_p, I_1 + I_2 cut off what they can.
    rounding = torch.finfo(torch.float64).eps * (64 + shape.numel())
    least = torch.maximum(first, second)
    low = torch.minimum(torch.maximum(label + lower, least), both)
    high = torch.minimum(torch.maximum(label + upper, low), torch.maximum(torch.minimum(both, first + second), low))
    return Decomposition(
        (first + second - low).reshape(lead),
        (low - second).reshape(lead),
        (low - first).reshape(lead),
        (both - low).reshape(lead),
        (high - low + rounding).reshape(lead),
        coupling.reshape(table.shape),
    )


def _single(joint: Tensor) -> Decomposition | None:
    """One small table in numpy from its check to its atoms, whose small calls cost less; None where the general way must do it."""
    table = torch.as_tensor(joint)
    if table.dim() != 3 or not 0 < table.numel() <= _SMALL_CELLS or table.device.type != "cpu" or table.requires_grad:
        return None
    p = table.numpy().astype(np.float64)
    mass = p.sum()
    if not (p.min() >= 0 and abs(mass - 1) <= 1e-9):
        return None  # the general check says what is wrong
    p /= mass
    one, two = p.sum(1), p.sum(0)
    lower, upper, coupling = certify_one(one, two, tolerance=_CONE_TOLERANCE)
    if not upper - lower <= 4 * _CONE_TOLERANCE:
        return None
    label = one.sum(0)
    first, second = (_information(part, part.sum(1), label) for part in (one, two))
    pairs = p.reshape(-1, p.shape[-1])
    both = _information(pairs, pairs.sum(1), label)
    entropy_label = -float(label @ np.log(np.maximum(label, 1e-300)))
    rounding = np.finfo(np.float64).eps * (64 + p.size)
    low = min(max(entropy_label + lower, first, second), both)
    high = min(max(entropy_label + upper, low), max(min(both, first + second), low))
    atoms = [first + second - low, low - second, low - first, both - low, high - low + rounding]
    shared, own_first, own_second, synergy, gap = torch.tensor(atoms, dtype=torch.float64).unbind()
    return Decomposition(shared, own_first, own_second, synergy, gap, torch.from_numpy(coupling))


def _information(joint: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> float:
    """``information`` of one table with these marginals."""
    ratio = joint / np.maximum(rows[:, None] * columns, 1e-300)
    return max(0.0, float((joint * np.log(np.maximum(ratio, 1e-300))).sum()))


def _bounds(tables: Tensor, route: Route) -> tuple[Tensor, Tensor, Tensor]:
    """Certified bounds of the least Σ q ln q(y|x1,x2), and the coupling of the upper one."""
    marginals = Marginals.of(tables)
    enough = _ENOUGH
    if route == "newton":
        lower, upper, coupling = certify(marginals, *minimise(marginals))
    else:
        pairs = zip(marginals.first.mT.numpy(), marginals.second.mT.numpy(), strict=True)
        found = [certify_one(one, two, tolerance=_CONE_TOLERANCE) for one, two in pairs]
        lower, upper, coupling = (torch.from_numpy(np.stack(column)) for column in zip(*found, strict=True))
        enough = 4 * _CONE_TOLERANCE
    late = (~(upper - lower <= enough)).nonzero()[:, 0]
    if len(late):
        again = marginals.rows(late)
        low, high, q = certify(again, *solve_cone(again, tolerance=_RESCUE_TOLERANCE))
        better = ~(high >= upper[late])
        lower[late] = torch.fmax(low, lower[late])
        upper[late] = torch.where(better, high, upper[late])
        coupling[late] = torch.where(better[:, None, None, None], q, coupling[late])
    return lower, upper, coupling
