"""Entropies of couplings: the least (exact on small tables, bounded by majorisation on others) and the greatest."""

from __future__ import annotations

import itertools
from functools import lru_cache

import torch
from torch import Tensor

from mmtheory.errors import NotExactError

from ._discrete import entropy


def meet_entropy(p: Tensor, q: Tensor) -> Tensor:
    r"""Entropy of the greatest law majorised by both: no coupling of p and q has less.

    .. math:: (p \wedge q)_i = \min(P_i, Q_i) - \min(P_{i-1}, Q_{i-1}), \qquad P, Q \text{ partial sums in decreasing order}

    Never below max(H(p), H(q)).

    Shape: p [*batch_shape, k], q [*batch_shape, l] -> [*batch_shape]. Unit: nat.

    Source: Cicalese, Gargano and Vaccaro 2019 (known).

    >>> float(meet_entropy(torch.tensor([1.0, 0.0]).double(), torch.tensor([0.5, 0.5]).double())) > 0.693
    True
    """
    size = max(p.shape[-1], q.shape[-1])
    sums = [
        torch.nn.functional.pad(v.sort(-1, descending=True).values, (0, size - v.shape[-1])).cumsum(-1) for v in (p, q)
    ]
    return entropy(torch.minimum(*sums).diff(dim=-1, prepend=p.new_zeros(*p.shape[:-1], 1)).clamp(min=0))


def least_coupling_entropy(p: Tensor, q: Tensor) -> Tensor:
    """The least joint entropy of any coupling of p and q, over all vertices of their transportation polytope.

    Entropy is concave, so a vertex attains the minimum; a vertex is a spanning tree of rows and columns, 4096 of them at 4 × 4.

    Shape: p [*batch_shape, k], q [*batch_shape, l] -> [*batch_shape], k, l <= 4. Unit: nat.

    :raises NotExactError: more than four symbols on a side.

    Source: derived here.

    >>> float(least_coupling_entropy(torch.tensor([0.5, 0.5]).double(), torch.tensor([0.5, 0.5]).double())) < 0.6932
    True
    """
    k, m = p.shape[-1], q.shape[-1]
    if max(k, m) > 4:
        raise NotExactError(f"least_coupling_entropy: expected at most 4 symbols a side, found {k} and {m}")
    inverse = _trees(k, m).to(p.device)
    right = torch.cat([p, q[..., :-1]], -1)
    flows = torch.einsum("tij,...j->...ti", inverse, right)
    feasible = (flows >= -1e-12).all(-1)
    return torch.where(feasible, entropy(flows.clamp(min=0)), torch.inf).amin(-1)


@lru_cache(maxsize=16)
def _trees(k: int, m: int) -> Tensor:
    """For every spanning tree of K_{k,m}, the matrix from marginals (the last one left out) to the flows on its edges."""
    edges = list(itertools.product(range(k), range(m)))
    incidence = torch.zeros(k + m, len(edges), dtype=torch.float64)
    for e, (i, j) in enumerate(edges):
        incidence[i, e] = incidence[k + j, e] = 1
    chosen = torch.tensor(list(itertools.combinations(range(len(edges)), k + m - 1)))
    matrices = incidence[:-1, chosen].movedim(1, 0)
    # Totally unimodular: the determinant is −1, 0 or 1, and 0 exactly where the edges contain a cycle.
    return torch.linalg.inv(matrices[torch.linalg.det(matrices).abs() > 0.5]).round()


def greatest_entropy(joint: Tensor, *, sweeps: int = 400) -> Tensor:
    r"""An upper bound, tight in the limit, of H_r(X₁, X₂, Y) over the tables r with the three pairwise marginals of this one.

    .. math:: H_r \le -\sum p \ln e + \ln Z, \qquad e = e^{\lambda_{12} + \lambda_{1y} + \lambda_{2y}} \text{ by proportional fitting}

    The cross-entropy with e depends on r through the pairwise marginals alone, so the bound is valid after any number of sweeps.

    Shape: joint [*batch_shape, x1, x2, y] -> [*batch_shape]. Unit: nat.

    :param sweeps: of proportional fitting; 0 gives the bound of a uniform law on the possible cells.

    Source: derived here (Gibbs' inequality).

    >>> cube = torch.full((2, 2, 2), 0.125, dtype=torch.float64)
    >>> round(float(greatest_entropy(cube)), 9)
    2.079441542
    """
    pairs = [joint.sum(axis, keepdim=True) for axis in (-1, -2, -3)]
    possible = torch.ones_like(joint, dtype=torch.bool)
    for pair in pairs:
        possible = possible & (pair > 0)
    fitted = possible.to(joint.dtype) / possible.sum((-3, -2, -1), keepdim=True)
    for sweep in range(sweeps):
        before = fitted
        for axis, pair in zip((-1, -2, -3), pairs, strict=True):
            now = fitted.sum(axis, keepdim=True)
            fitted = fitted * torch.where(pair > 0, pair / torch.where(now > 0, now, 1.0), 0.0)
        if sweep % 16 == 15 and bool((fitted - before).abs().max() < 1e-15):
            break
    total = fitted.sum((-3, -2, -1))
    return -torch.special.xlogy(joint, fitted).sum((-3, -2, -1)) + total.log()
