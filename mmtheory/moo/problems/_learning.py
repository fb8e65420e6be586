"""P8 and P9: problems of learning, linear multi-modal regression and a pair of logistic losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._problem import Problem, matching
from ._quadratic import Quadratic, symmetric

POINTS = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.5, -1.0]], dtype=torch.float64)
SIGNS = torch.tensor([[1.0, 1.0, -1.0, -1.0], [1.0, -1.0, -1.0, 1.0]], dtype=torch.float64)


@final
@dataclass(frozen=True, eq=False)
class LinearMultimodal(Quadratic):
    r"""P8: population losses of linear late fusion: the fused one, then one a modality.

    .. math:: f_0 = \tfrac12 E\Bigl(y - \sum_k w_k^\top x_k\Bigr)^2, \qquad f_k = \tfrac12 E(y - v_k^\top x_k)^2

    With ``shared`` the uni-modal losses read the fused model's own w_k; without, heads v_k of their own, and then nothing couples them.
    The uni-modal gradient and the fused one differ on block k by :math:`\sum_{l \ne k}\Sigma_{kl} w_l`.

    :param covariance: Σ of the stacked inputs, ``[*batch, D, D]``, positive definite.
    :param cross: Cov(x, y), ``[*batch, D]``.
    :param variance: Var(y); it must leave every loss non-negative.
    :param widths: coordinates of each modality, D in all.
    :param shared: whether the uni-modal losses share the fused weights.
    :raises ArgumentError: shapes that disagree.

    Source: the catalogue's P8; formulas derived here.

    >>> LinearMultimodal().infima.tolist()
    [0.375, 0.5, 0.375]
    """

    name: ClassVar[str] = "linear-multimodal"
    number: ClassVar[str] = "P8"

    covariance: Tensor = field(default_factory=lambda: torch.tensor([[1.0, 0.0], [0.0, 1.0]], dtype=torch.float64))
    cross: Tensor = field(default_factory=lambda: torch.tensor([0.0, 0.5], dtype=torch.float64))
    variance: float = 1.0
    widths: tuple[int, ...] = (1, 1)
    shared: bool = True

    def __post_init__(self) -> None:
        matching("covariance", self.covariance, axes=2)
        D = sum(self.widths)
        if self.covariance.shape[-2:] != (D, D) or self.cross.shape[-1:] != (D,):
            raise ArgumentError(
                f"covariance, cross: expected [*batch, {D}, {D}] and [*batch, {D}], "
                f"found {list(self.covariance.shape)} and {list(self.cross.shape)}"
            )

    @cached_property
    def masks(self) -> Tensor:
        """Which numbers each loss reads, ``[1 + K, d]`` of bool: the structural reachability."""
        D, K = sum(self.widths), len(self.widths)
        at = torch.repeat_interleave(torch.arange(K), torch.tensor(self.widths))
        own = at == torch.arange(K)[:, None]
        if self.shared:
            return torch.cat((torch.ones(1, D, dtype=torch.bool), own))
        first = torch.cat((torch.ones(1, D, dtype=torch.bool), torch.zeros(1, D, dtype=torch.bool)), 1)
        return torch.cat((first, torch.cat((torch.zeros_like(own), own), 1)))

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The coordinates of each modality among the fused weights."""
        ends = tuple(accumulate(self.widths))
        return tuple(slice(end - width, end) for end, width in zip(ends, self.widths, strict=True))

    def _read(self, whole: Tensor) -> Tensor:
        """A matrix of the inputs as the losses' copies of their weights see it: the same twice over without sharing."""
        if self.shared:
            return whole
        zero = torch.zeros_like(whole)
        return torch.cat((torch.cat((whole, zero), -1), torch.cat((zero, whole), -1)), -2)

    @cached_property
    def hessians(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Σ cut to what each loss reads."""
        keep = self.masks.to(self.covariance.device)
        return self._read(symmetric(self.covariance))[..., None, :, :] * (keep[:, :, None] & keep[:, None, :])

    @cached_property
    def centres(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Each loss's least-squares weights, zero where it does not look."""
        keep = self.masks.to(self.covariance.device)
        pull = self.cross if self.shared else torch.cat((self.cross, self.cross), -1)
        idle = torch.diag_embed((~keep).double())
        return torch.linalg.solve(self.hessians + idle, pull[..., None, :] * keep)

    @property
    def infima(self) -> Tensor:
        pull = self.cross if self.shared else torch.cat((self.cross, self.cross), -1)
        return (self.variance - (pull[..., None, :] * self.centres).sum(-1)) / 2

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 3, dim: int = 4) -> Self:
        """y = Σ b_k z + noise seen through ``objectives`` − 1 modalities that share ``dim`` coordinates as evenly as they can."""
        K = objectives - 1
        widths = tuple(dim // K + (1 if k < dim % K else 0) for k in range(K))
        loading = draws.normal("loading", dim, dim) / dim**0.5
        target = draws.normal("target", dim)
        target = target / target.norm(dim=-1, keepdim=True)
        noise = 0.3 * torch.eye(dim, dtype=torch.float64, device=loading.device)
        return cls(symmetric(loading @ loading.mT) + noise, (loading @ target[..., None])[..., 0], 1.25, widths)


@final
@dataclass(frozen=True, eq=False)
class LogisticPair(Problem):
    r"""P9: ridge-logistic losses of different labels on the same points: strongly convex and not quadratic.

    .. math:: f_i = \frac1n \sum_j \ln(1 + e^{-y_{ij} x_j^\top\theta}) + \frac\rho2\|\theta\|^2, \qquad
        \mu = \rho, \quad L = \tfrac14\lambda_{\max}(X^\top X/n) + \rho

    :param points: x, ``[*batch, n, d]``.
    :param labels: y = ±1, ``[*batch, m, n]``.
    :param ridge: ρ > 0.
    :raises ArgumentError: shapes that disagree, other labels, a ridge that is not positive.

    Source: the catalogue's P9.

    >>> LogisticPair().pareto_point(torch.tensor([0.5, 0.5], dtype=torch.float64)).shape
    torch.Size([2])
    """

    name: ClassVar[str] = "logistic-pair"
    number: ClassVar[str] = "P9"

    points: Tensor = field(default_factory=POINTS.clone)
    labels: Tensor = field(default_factory=SIGNS.clone)
    ridge: float = 0.1

    def __post_init__(self) -> None:
        matching("points", self.points, axes=2)
        if self.labels.shape[-1] != self.points.shape[-2] or not bool((self.labels.abs() == 1).all()):
            raise ArgumentError(
                f"labels: expected ±1 of shape [*batch, m, {self.points.shape[-2]}], found shape {list(self.labels.shape)}"
            )
        if not self.ridge > 0:
            raise ArgumentError(f"ridge: expected a positive number, found {self.ridge}")

    @property
    def objectives(self) -> int:
        return self.labels.shape[-2]

    @property
    def dim(self) -> int:
        return self.points.shape[-1]

    @property
    def smoothness(self) -> Tensor:
        n = self.points.shape[-2]
        return torch.linalg.eigvalsh(symmetric(self.points.mT @ self.points) / n)[..., -1] / 4 + self.ridge

    @property
    def convexity(self) -> Tensor:
        return torch.full(self.points.shape[:-2], self.ridge, dtype=torch.float64, device=self.points.device)

    @property
    def infima(self) -> Tensor:
        return self._least

    @cached_property
    def _least(self) -> Tensor:
        """Each loss at its own minimiser."""
        eye = torch.eye(self.objectives, dtype=torch.float64, device=self.points.device)
        own = [self.values(self.pareto_point(row.expand(*self.points.shape[:-2], -1)))[..., i] for i, row in enumerate(eye)]  # fmt: skip
        return torch.stack(own, -1)

    @property
    def spread(self) -> Tensor:
        r"""A bound of ‖∇f_k − ∇f_l‖ anywhere: the mean of ‖x_j‖ over the points whose labels differ, at most. Shape ``[*batch]``."""
        return self.points.norm(dim=-1).mean(-1)

    def _margins(self, x: Tensor) -> Tensor:
        """y_ij x_jᵀθ."""
        return self.labels * (self.points @ x[..., None])[..., 0][..., None, :]

    def values(self, x: Tensor) -> Tensor:
        loss = torch.nn.functional.softplus(-self._margins(x)).mean(-1)
        return loss + self.ridge / 2 * (x**2).sum(-1, keepdim=True)

    def jacobian(self, x: Tensor) -> Tensor:
        pull = -self.labels * torch.sigmoid(-self._margins(x)) / self.points.shape[-2]
        return pull @ self.points + self.ridge * x[..., None, :]

    def hessian(self, x: Tensor) -> Tensor:
        """One for all objectives: labels of ±1 do not show in it. Shape ``[*batch, d, d]``."""
        p = torch.sigmoid((self.points @ x[..., None])[..., 0])
        curved = self.points * (p * (1 - p) / self.points.shape[-2])[..., None]
        eye = torch.eye(self.dim, dtype=torch.float64, device=self.points.device)
        return symmetric(self.points.mT @ curved) + self.ridge * eye

    def pareto_point(self, weights: Tensor) -> Tensor:
        """By Newton's method, damped by 1/(1 + decrement) until it is close: quadratic convergence after that."""
        shape = torch.broadcast_shapes(weights.shape[:-1], self.points.shape[:-2], self.labels.shape[:-2])
        x = torch.zeros(*shape, self.dim, dtype=torch.float64, device=self.points.device)
        for _ in range(20):
            slope = (weights[..., None] * self.jacobian(x)).sum(-2)
            move = torch.linalg.solve(self.hessian(x), slope)
            fall = (move * slope).sum(-1, keepdim=True).clamp(min=0).sqrt()
            # The logistic loss is self-concordant up to its scale; with ρ ≥ curvature/100 the full step is safe once it is short.
            x = x - torch.where(fall > 0.25, 1 / (1 + fall), 1.0) * move
        return x

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 4) -> Self:
        n = 4 * dim
        points = draws.normal("points", n, dim)
        pull = points @ draws.normal("truth", dim, objectives) + draws.normal("noise", n, objectives)
        return cls(points, torch.where(pull.mT > 0, 1.0, -1.0).double(), 0.1)
