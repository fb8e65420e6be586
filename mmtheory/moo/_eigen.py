"""Eigenvalues of small symmetric matrices without asking the host."""

from __future__ import annotations

import torch
from torch import Tensor

SWEEPS = 10


def eigen(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues (in no promised order) and eigenvectors of symmetric matrices ``[*batch, m, m]``.

    LAPACK on the CPU; elsewhere Jacobi rotations, because the accelerators' own routine synchronises with the host.
    """
    if matrix.device.type == "cpu":
        return torch.linalg.eigh(matrix)
    return jacobi(matrix)


def jacobi(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Cyclic Jacobi in a round-robin: m/2 disjoint rotations at once, a fixed number of sweeps.

    >>> jacobi(torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64))[0].sort().values.tolist()
    [1.0, 3.0]
    """
    m = matrix.shape[-1]
    vectors = torch.eye(m, dtype=matrix.dtype, device=matrix.device).expand(matrix.shape).clone()
    for _ in range(SWEEPS):
        for pairs in rounds_of(m):
            turn = _rotation(matrix, pairs)
            matrix, vectors = turn.mT @ matrix @ turn, vectors @ turn
    return matrix.diagonal(dim1=-2, dim2=-1), vectors


def rounds_of(m: int) -> list[list[tuple[int, int]]]:
    """Every pair of m players once, in rounds of disjoint pairs."""
    ring = list(range(m + m % 2))
    rounds: list[list[tuple[int, int]]] = []
    for _ in range(len(ring) - 1):
        pairs = [(ring[i], ring[-1 - i]) for i in range(len(ring) // 2)]
        rounds.append([(min(p), max(p)) for p in pairs if max(p) < m])
        ring = [ring[0], ring[-1], *ring[1:-1]]
    return rounds


def _rotation(matrix: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    """The orthogonal matrix that zeroes the entries of these disjoint pairs."""
    turn = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device).expand(matrix.shape).clone()
    for i, j in pairs:
        off = matrix[..., i, j]
        # The smaller angle of the two; a zero entry turns nothing.
        angle = 0.5 * torch.atan2(2 * off, matrix[..., j, j] - matrix[..., i, i])
        angle = torch.where(off == 0, torch.zeros_like(angle), _nearest(angle))
        turn[..., i, i] = turn[..., j, j] = angle.cos()
        turn[..., i, j], turn[..., j, i] = angle.sin(), -angle.sin()
    return turn


def _nearest(angle: Tensor) -> Tensor:
    """The same rotation up to an exchange of the axes, within ±π/4."""
    quarter = torch.pi / 4
    return torch.where(angle > quarter, angle - 2 * quarter, torch.where(angle < -quarter, angle + 2 * quarter, angle))
