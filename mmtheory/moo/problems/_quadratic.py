"""What every quadratic problem shares: values, gradients, constants, and the checks of its centres and Hessians."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.moo._gramian import gramian
from mmtheory.moo._min_norm import min_norm
from mmtheory.rng import Draws

from ._problem import Merit, Problem, matching

ROUNDS = 40
HALVINGS = 12
RIDGES = (1e-13, 1e-9, 1e-5, 1e-2)
NOISE = 1e-14


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

    def merit(self, x: Tensor) -> Merit:
        r"""u₀ for any number of strictly convex quadratics, by Newton's method on the simplex with a certificate.

        .. math:: \varphi(\lambda) = \lambda^\top f(x) - \min_z \lambda^\top f(z), \qquad \nabla\varphi = f(x) - f(z_\lambda), \quad
            \nabla^2\varphi = N M^{-1} N^\top, \; M = \textstyle\sum \lambda_i A_i, \; N_i = \nabla f_i(z_\lambda)

        Each round minimises the second-order model over the simplex, which is a min-norm programme, exactly. ``low`` = min_i ∂_iφ and ``high`` =
        φ bracket u₀ at every λ, so that what is returned is certified whatever the rounds did.

        :raises NotExactError: more than two objectives that are not strictly convex.

        Source: derived here (Danskin's theorem for the gradient, the implicit function theorem for the Hessian).
        """
        if self.objectives == 2 or not bool((self.convexity > 0).all()):
            return super().merit(x)
        here = self.values(x)
        weights = torch.full_like(here, 1 / self.objectives)
        gain = here - self.values(self.pareto_point(weights))
        for _ in range(ROUNDS):
            improved = False
            # With more objectives than numbers ∇²φ is singular: the larger ridges go where the smallest leaves no digits.
            for ridge in RIDGES:
                goal = self._model_minimiser(weights, gain, ridge)
                weights, gain, moved = self._better(here, weights, gain, goal)
                improved = improved or bool(moved.any())
            if not improved:
                break
        high = (weights * gain).sum(-1)
        return Merit(torch.minimum(gain.amin(-1), high), high, self.pareto_point(weights))

    def _model_minimiser(self, weights: Tensor, gain: Tensor, ridge: float) -> Tensor:
        """argmin over Δ of ∇φᵀu + ½(u − λ)ᵀ∇²φ(u − λ): min-norm weights of rows whose Gramian is H + c1ᵀ + 1cᵀ + (cᵀH⁻¹c)11ᵀ, c = ∇φ − Hλ."""
        rows = self.jacobian(self.pareto_point(weights))
        mixed = (weights[..., None, None] * self.hessians).sum(-3)
        hessian = symmetric(rows @ torch.linalg.solve(mixed, rows.mT))
        size = hessian.diagonal(dim1=-2, dim2=-1).amax(-1) + gain.abs().amax(-1)
        hessian = hessian + ridge * size[..., None, None] * torch.eye(
            self.objectives, dtype=weights.dtype, device=weights.device
        )
        c = gain - (hessian @ weights[..., None])[..., 0]
        # A constant added to c moves nothing on the simplex; the one that makes cᵀH⁻¹c least keeps the Gramian's digits.
        solved = torch.linalg.solve(hessian, torch.stack((torch.ones_like(c), c), -1))
        c = c - (solved[..., 1].sum(-1) / solved[..., 0].sum(-1))[..., None]
        lift = (c * torch.linalg.solve(hessian, c[..., None])[..., 0]).sum(-1).clamp(min=0)
        return min_norm(hessian + c[..., :, None] + c[..., None, :] + lift[..., None, None])

    def _better(self, here: Tensor, weights: Tensor, gain: Tensor, goal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best point towards the goal among the halved steps, with its gain; where none is better, the old one."""
        best, found, value = weights, gain, (weights * gain).sum(-1)
        moved = torch.zeros_like(value, dtype=torch.bool)
        for k in range(HALVINGS):
            trial = weights + 0.5**k * (goal - weights)
            after = here - self.values(self.pareto_point(trial))
            level = (trial * after).sum(-1)
            # Where φ no longer shows a difference, the bracket's width does: it is of first order.
            same = level <= value + NOISE * here.abs().amax(-1)
            falls = (level < value - NOISE * here.abs().amax(-1)) | (
                same & (level - after.amin(-1) < value - found.amin(-1))
            )
            best = torch.where(falls[..., None], trial, best)
            found = torch.where(falls[..., None], after, found)
            value, moved = torch.where(falls, level, value), moved | falls
        return best, found, moved


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
