"""One decomposition as an exponential-cone program, handed to Clarabel with a structure that is built once per shape."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from ._pid_system import Marginals


def solve_cone(
    marginals: Marginals, *, tolerance: float = 1e-10, careful: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Near-optimal dual variables (a, b) and coupling q, table after table, from the program

    .. math:: \min \sum t \quad\text{s.t.}\quad (-t,\; q(x_1,x_2,y),\; q(x_1,x_2)) \in K_{\exp}, \quad q \text{ has both marginals}

    over the supported cells alone. Only the right-hand side differs between tables of one support, so the matrix is cached.

    Shape: a [n, y, x1], b [n, y, x2], q [n, x1, x2, y].

    :param careful: refine every linear solve, which costs a third of the time and helps only badly scaled tables.
    :param tolerance: Clarabel's gap and feasibility tolerance; the certificate is taken afterwards and does not trust it.

    Source: Makkeh, Theis and Vicente 2018 for the cone form (known).
    """
    a, b = torch.zeros_like(marginals.first), torch.zeros_like(marginals.second)
    q = torch.zeros_like(marginals.product)
    for row in range(len(q)):
        first, second = marginals.first[row].numpy(), marginals.second[row].numpy()
        support = marginals.support[row].numpy()
        right = np.concatenate([first[first > 0], second[second > 0]])
        x, z = _solve(support.shape, support.tobytes(), right, tolerance, careful=careful)
        q[row].numpy()[support] = x[: support.sum()]
        split = int((first > 0).sum())
        a[row].numpy()[first > 0] = -z[:split]
        b[row].numpy()[second > 0] = -z[split : len(right)]
    return a, b, q


def certify_one(first: np.ndarray, second: np.ndarray, *, tolerance: float) -> tuple[float, float, np.ndarray]:
    """Solve and certify one table, as :func:`~mmtheory.info._pid_certificate.certify` would; numpy, whose small calls cost less.

    Shape: first [x1, y], second [x2, y] -> two numbers and q [x1, x2, y].
    """
    one, two = first.T, second.T
    here_one, here_two = one > 0, two > 0
    support = here_one.T[:, None, :] & here_two.T[None]
    right = np.concatenate([one[here_one], two[here_two]])
    x, z = _solve(support.shape, support.tobytes(), right, tolerance, careful=False)
    a, b, q = np.zeros_like(one), np.zeros_like(two), np.zeros(support.shape)
    split = np.count_nonzero(here_one)
    a[here_one], b[here_two] = -z[:split], -z[split : len(right)]
    q[support] = np.maximum(x[: len(x) // 2], 0.0)
    total = (np.exp(a.T[:, None, :] + b.T[None]) * support).sum(-1)
    worst = np.log(np.maximum(total.max(1), 1e-300))
    lower = (one * a).sum() + (two * b).sum() - one.sum(0) @ worst
    q *= np.minimum(first / np.maximum(q.sum(1), 1e-300), 1.0)[:, None]
    q *= np.minimum(second / np.maximum(q.sum(0), 1e-300), 1.0)[None]
    short_one, short_two = np.maximum(first - q.sum(1), 0.0), np.maximum(second - q.sum(0), 0.0)
    q += short_one[:, None] * (short_two / np.maximum(short_one.sum(0), 1e-300))[None]
    share = q / np.maximum(q.sum(-1, keepdims=True), 1e-300)
    upper = (q * np.log(np.maximum(share, 1e-300))).sum()
    return float(lower), float(upper), q


def _solve(
    shape: tuple[int, ...], support: bytes, right: np.ndarray, tolerance: float, *, careful: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Clarabel's primal and dual vectors."""
    clarabel = _clarabel()
    zero, cost, matrix, cones = _structure(shape, support)
    settings = _settings(tolerance, careful=careful)
    offset = np.zeros(matrix.shape[0])
    offset[: len(right)] = right
    found = clarabel.DefaultSolver(zero, cost, matrix, offset, cones, settings).solve()
    return np.asarray(found.x), np.asarray(found.z)


@lru_cache(maxsize=1)
def _clarabel() -> Any:  # noqa: ANN401 (a compiled module without types)
    """The solver, imported only when a program is solved."""
    return import_module("clarabel")


@lru_cache(maxsize=4)
def _settings(tolerance: float, *, careful: bool) -> Any:  # noqa: ANN401 (a compiled class without types)
    clarabel = _clarabel()
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    settings.iterative_refinement_enable = careful
    settings.max_threads = 1
    return settings


@lru_cache(maxsize=256)
def _structure(shape: tuple[int, ...], support: bytes) -> tuple[Any, np.ndarray, Any, list[Any]]:
    """Quadratic term, cost, constraint matrix and cones of a support: cells first, then their epigraph variables."""
    clarabel = _clarabel()
    mask = np.frombuffer(support, dtype=bool).reshape(shape)
    i, j, y = mask.nonzero()
    cells = len(i)
    rows = _numbered(np.asarray(mask.any(1)).T)[y, i]
    columns = _numbered(np.asarray(mask.any(0)).T)[y, j]
    marginal = [(rows, np.arange(cells)), (rows.max() + 1 + columns, np.arange(cells))]
    equalities = int(rows.max() + columns.max() + 2)
    base = equalities + 3 * np.arange(cells)
    same, other = ((i[:, None] == i) & (j[:, None] == j)).nonzero()
    plus = (
        np.concatenate([marginal[0][0], marginal[1][0], base]),
        np.concatenate([marginal[0][1], marginal[1][1], cells + np.arange(cells)]),
    )
    minus = np.concatenate([base + 1, base[same] + 2]), np.concatenate([np.arange(cells), other])
    value = np.concatenate([np.ones(len(plus[0])), -np.ones(len(minus[0]))])
    where = tuple(np.concatenate(pair) for pair in zip(plus, minus, strict=True))
    matrix = sparse.csc_matrix((value, where), shape=(equalities + 3 * cells, 2 * cells))
    cost = np.concatenate([np.zeros(cells), np.ones(cells)])
    cones = [clarabel.ZeroConeT(equalities), *[clarabel.ExponentialConeT()] * cells]
    return sparse.csc_matrix((2 * cells, 2 * cells)), cost, matrix, cones


def _numbered(mask: np.ndarray) -> np.ndarray:
    """0, 1, … along the true entries in their order."""
    return np.cumsum(mask.ravel()).reshape(mask.shape) - 1
