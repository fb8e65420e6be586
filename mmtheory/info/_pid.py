"""The BROJA decomposition of any table, with a certificate."""

from __future__ import annotations

from typing import Literal

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


def _bounds(tables: Tensor, route: Route) -> tuple[Tensor, Tensor, Tensor]:
    """Certified bounds of the least Σ q ln q(y|x1,x2), and the coupling of the upper one."""
    marginals = Marginals.of(tables)
    enough = _ENOUGH
    if route == "newton":
        lower, upper, coupling = certify(marginals, *minimise(marginals))
    else:
        one_by_one = [
            certify_one(marginals.rows(slice(k, k + 1)), tolerance=_CONE_TOLERANCE) for k in range(len(tables))
        ]
        lower, upper, coupling = (torch.cat(column) for column in zip(*one_by_one, strict=True))
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
