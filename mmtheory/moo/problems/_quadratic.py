"""What every quadratic problem shares: values, gradients, constants, and the checks of its centres and Hessians."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.moo._gramian import gramian
from mmtheory.moo._min_norm import min_norm
from mmtheory.rng import Draws

from ._problem import Problem, matching


def positive(draws: Draws, name: str, *shape: int, condition: float = 20.0) -> Tensor:
    """Symmetric matrices with eigenvalues spread geometrically over [1/condition, 1], randomly rotated: ``[*batch, *shape, d, d]``."""
    d = shape[-1]
    turn, _ = torch.linalg.qr(draws.normal(name, *shape, d))
    values = condition ** -torch.linspace(0, 1, d, dtype=torch.float64).to(turn.device)
    return symmetric((turn * values) @ turn.mT)


def symmetric(matrix: Tensor) -> Tensor:
    """The symmetric part."""
    return (matrix + matrix.mT) / 2


class Quadratic(Problem):
    """f_i = ½(x − a_i)ᵀA_i(x − a_i) + b_i, with ``centres`` [*batch, m, d], ``hessians`` [*batch, m, d, d]."""

    centres: Tensor
    hessians: Tensor

    @property
    def objectives(self) -> int:
        return self.centres.shape[-2]

    @property
    def dim(self) -> int:
        return self.centres.shape[-1]

    @cached_property
    def _spectrum(self) -> Tensor:
        return torch.linalg.eigvalsh(self.hessians)

    @property
    def smoothness(self) -> Tensor:
        return self._spectrum[..., -1].amax(-1)

    @property
    def convexity(self) -> Tensor:
        return self._spectrum[..., 0].amin(-1).clamp(min=0)

    @property
    def infima(self) -> Tensor:
        return torch.zeros_like(self.centres[..., 0])

    def values(self, x: Tensor) -> Tensor:
        return ((x[..., None, :] - self.centres) * self.jacobian(x)).sum(-1) / 2 + self.infima

    def jacobian(self, x: Tensor) -> Tensor:
        return (self.hessians @ (x[..., None, :] - self.centres)[..., None])[..., 0]

    def pareto_point(self, weights: Tensor) -> Tensor:
        mixed = (weights[..., None, None] * self.hessians).sum(-3)
        pulled = (weights[..., None] * (self.hessians @ self.centres[..., None])[..., 0]).sum(-2)
        return torch.linalg.solve(mixed, pulled)


def hull_distance(x: Tensor, points: Tensor) -> Tensor:
    """Distance of x from the convex hull of points ``[*batch, m, d]``."""
    rows = x[..., None, :] - points
    weights = min_norm(gramian(rows))
    return (weights[..., None] * rows).sum(-2).norm(dim=-1)


def check_pair(centres: Tensor, hessians: Tensor) -> None:
    """Raises unless these are m centres of d numbers and m symmetric d × d matrices."""
    matching("centres", centres, axes=2)
    matching("hessians", hessians, axes=3)
    if hessians.shape[-3:] != (*centres.shape[-2:], centres.shape[-1]):
        raise ArgumentError(
            f"hessians: expected shape [*batch, {centres.shape[-2]}, {centres.shape[-1]}, {centres.shape[-1]}], "
            f"found {list(hessians.shape)}"
        )
    if not torch.allclose(hessians, hessians.mT, rtol=0, atol=1e-12 * float(hessians.abs().max())):
        raise ArgumentError("hessians: expected symmetric matrices, found one that is not")
