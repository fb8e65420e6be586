"""P1 to P5 and P11: quadratics, whose Pareto set is x(λ) = (ΣλA)⁻¹ΣλAa."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.moo._gramian import gramian
from mmtheory.moo._min_norm import min_norm
from mmtheory.rng import Draws

from ._problem import Merit, matching
from ._quadratic import Quadratic, check_pair, hull_distance, positive, symmetric

TRIANGLE = torch.tensor([[1.0, 0.0], [-0.5, math.sqrt(0.75)], [-0.5, -math.sqrt(0.75)]], dtype=torch.float64)
PAIR = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
TILTED = torch.tensor([[[1.0, 0.2], [0.2, 0.3]], [[0.5, -0.1], [-0.1, 0.2]]], dtype=torch.float64)


@final
@dataclass(frozen=True, eq=False)
class Quadratics(Quadratic):
    r"""P3: quadratics with Hessians of their own.

    .. math:: f_i = \tfrac12 (x - a_i)^\top A_i (x - a_i), \qquad x(\lambda) = \Bigl(\sum_i \lambda_i A_i\Bigr)^{-1} \sum_i \lambda_i A_i a_i

    :param centres: a_i, ``[*batch, m, d]``.
    :param hessians: A_i positive semi-definite, ``[*batch, m, d, d]``.
    :raises ArgumentError: shapes that disagree, an asymmetric Hessian.

    Source: textbook; the catalogue's P3.

    >>> Quadratics().pareto_point(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "quadratics"
    number: ClassVar[str] = "P3"

    centres: Tensor = field(default_factory=PAIR.clone)
    hessians: Tensor = field(default_factory=TILTED.clone)

    def __post_init__(self) -> None:
        check_pair(self.centres, self.hessians)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 4) -> Self:
        return cls(draws.normal("centres", objectives, dim), positive(draws, "hessians", objectives, dim))


@final
@dataclass(frozen=True, eq=False)
class NoisyQuadratics(Quadratic):
    r"""P11: P3 whose gradients are seen through noise :math:`N(0, \sigma^2 I / B)`, independent for each objective.

    :param noise: σ; 0 is P3.
    :raises ArgumentError: shapes that disagree, a negative noise.

    Source: the catalogue's P11.

    >>> p = NoisyQuadratics(noise=0.5)
    >>> float(p.plug_in_bias(batch=2))
    0.25
    """

    name: ClassVar[str] = "noisy-quadratics"
    number: ClassVar[str] = "P11"

    centres: Tensor = field(default_factory=PAIR.clone)
    hessians: Tensor = field(default_factory=TILTED.clone)
    noise: float = 1.0

    def __post_init__(self) -> None:
        check_pair(self.centres, self.hessians)
        if not (self.noise >= 0 and math.isfinite(self.noise)):
            raise ArgumentError(f"noise: expected a finite number >= 0, found {self.noise}")

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 4) -> Self:
        return cls(draws.normal("centres", objectives, dim), positive(draws, "hessians", objectives, dim))

    def noisy_jacobian(self, x: Tensor, standard: Tensor, batch: float = 1) -> Tensor:
        """∇f_i(x) + σ/√B times given standard normal numbers ``[*batch, m, d]``."""
        return self.jacobian(x) + self.noise / math.sqrt(batch) * standard

    def plug_in_bias(self, batch: float = 1) -> Tensor:
        r"""What ĴĴᵀ has too much on its diagonal on average, :math:`\sigma^2 d / B`."""
        return torch.tensor(self.noise**2 * self.dim / batch, dtype=torch.float64)


@final
@dataclass(frozen=True, eq=False)
class Spheres(Quadratic):
    r"""P1: squared distances from m points; the Pareto set is their convex hull.

    .. math:: f_i = \tfrac12\|x - a_i\|^2, \qquad d(x) = x - \Pi_{\mathrm{conv}}(x), \qquad u_0(x) = \tfrac12\|d(x)\|^2

    A step t along the min-norm direction shortens it by exactly 1 − t.

    :param centres: a_i, ``[*batch, m, d]``.

    Source: the catalogue's P1; the merit is derived here.

    >>> float(Spheres().distance(torch.tensor([2.0, 0.0], dtype=torch.float64)))
    1.0
    """

    name: ClassVar[str] = "spheres"
    number: ClassVar[str] = "P1"

    centres: Tensor = field(default_factory=TRIANGLE.clone)

    def __post_init__(self) -> None:
        matching("centres", self.centres, axes=2)

    @property
    def hessians(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The identity."""
        return torch.eye(self.dim, dtype=torch.float64, device=self.centres.device).expand(*self.centres.shape, self.dim)  # fmt: skip

    def pareto_point(self, weights: Tensor) -> Tensor:
        return (weights[..., None] * self.centres).sum(-2)

    def merit(self, x: Tensor) -> Merit:
        weights = min_norm(gramian(self.jacobian(x)))
        z = self.pareto_point(weights)
        gain = self.values(x) - self.values(z)
        return Merit(gain.amin(-1), ((x - z) ** 2).sum(-1) / 2, z)

    def distance(self, x: Tensor) -> Tensor:
        return hull_distance(x, self.centres)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 3, dim: int = 4) -> Self:
        return cls(draws.normal("centres", objectives, dim))


@final
@dataclass(frozen=True, eq=False)
class CommonHessian(Quadratic):
    r"""P2: one Hessian for all, which conditions the problem without moving its Pareto set, the convex hull of the centres.

    :param centres: a_i, ``[*batch, m, d]``.
    :param hessian: A positive definite, ``[*batch, d, d]``.
    :raises ArgumentError: shapes that disagree, an asymmetric Hessian.

    Source: the catalogue's P2; the merit ½ dist_A² is derived here.

    >>> float(CommonHessian().merit(torch.tensor([2.0, 0.0], dtype=torch.float64)).high)
    0.5
    """

    name: ClassVar[str] = "common-hessian"
    number: ClassVar[str] = "P2"

    centres: Tensor = field(default_factory=TRIANGLE.clone)
    hessian: Tensor = field(default_factory=lambda: torch.tensor([[1.0, 0.0], [0.0, 0.1]], dtype=torch.float64))

    def __post_init__(self) -> None:
        d = matching("centres", self.centres, axes=2).shape[-1]
        if matching("hessian", self.hessian, axes=2).shape[-2:] != (d, d):
            raise ArgumentError(f"hessian: expected shape [*batch, {d}, {d}], found {list(self.hessian.shape)}")
        check_pair(self.centres, self.hessians)

    @property
    def hessians(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """A, once an objective."""
        return self.hessian[..., None, :, :].expand(*self.hessian.shape[:-2], *self.centres.shape[-2:], self.dim)

    def pareto_point(self, weights: Tensor) -> Tensor:
        return (weights[..., None] * self.centres).sum(-2)

    def merit(self, x: Tensor) -> Merit:
        rows = x[..., None, :] - self.centres
        inner = symmetric(rows @ self.hessian @ rows.mT)
        weights = min_norm(inner)
        z = self.pareto_point(weights)
        gain = self.values(x) - self.values(z)
        return Merit(gain.amin(-1), (weights * (inner @ weights[..., None])[..., 0]).sum(-1) / 2, z)

    def distance(self, x: Tensor) -> Tensor:
        return hull_distance(x, self.centres)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 3, dim: int = 4) -> Self:
        return cls(draws.normal("centres", objectives, dim), positive(draws, "hessian", dim))


@final
@dataclass(frozen=True, eq=False)
class SharedMinimiser(Quadratic):
    r"""P4: all objectives have one minimiser, so that the front is one point and no method has anything to trade.

    :param centre: a, ``[*batch, d]``.
    :param hessians: A_i positive definite, ``[*batch, m, d, d]``.
    :raises ArgumentError: shapes that disagree, an asymmetric Hessian.

    Source: the catalogue's P4; :math:`u_0(x) = \min_i f_i(x)` is derived here.

    >>> float(SharedMinimiser().distance(torch.tensor([3.0, 4.0], dtype=torch.float64)))
    5.0
    """

    name: ClassVar[str] = "shared-minimiser"
    number: ClassVar[str] = "P4"

    centre: Tensor = field(default_factory=lambda: torch.zeros(2, dtype=torch.float64))
    hessians: Tensor = field(default_factory=TILTED.clone)

    def __post_init__(self) -> None:
        d = matching("centre", self.centre, axes=1).shape[-1]
        if matching("hessians", self.hessians, axes=3).shape[-2:] != (d, d):
            raise ArgumentError(f"hessians: expected shape [*batch, m, {d}, {d}], found {list(self.hessians.shape)}")
        check_pair(self.centres, self.hessians)

    @property
    def centres(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """a, once an objective."""
        return self.centre[..., None, :].expand(*self.centre.shape[:-1], self.hessians.shape[-3], self.centre.shape[-1])

    def pareto_point(self, weights: Tensor) -> Tensor:
        return self.centre.expand(*weights.shape[:-1], self.dim)

    def merit(self, x: Tensor) -> Merit:
        least = self.values(x).amin(-1)
        return Merit(least, least, self.centre.expand(x.shape))

    def distance(self, x: Tensor) -> Tensor:
        return (x - self.centre).norm(dim=-1)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 4) -> Self:
        return cls(draws.normal("centre", dim), positive(draws, "hessians", objectives, dim))


@final
@dataclass(frozen=True, eq=False)
class ElementWise(Quadratic):
    r"""P5: :math:`f_i = x_i^2`. Only 0 is Pareto optimal, yet every point with some x_i = 0 is weakly stationary: MGDA stops there.

    :param dim: d = m.
    :raises ArgumentError: fewer than two.

    Source: TorchJD's element-wise quadratic (code).

    >>> ElementWise().jacobian(torch.tensor([0.0, -3.0], dtype=torch.float64)).tolist()
    [[0.0, 0.0], [0.0, -6.0]]
    """

    name: ClassVar[str] = "element-wise"
    number: ClassVar[str] = "P5"

    width: int = 2

    def __post_init__(self) -> None:
        if self.width < 2:
            raise ArgumentError(f"width: expected at least 2, found {self.width}")

    @property
    def centres(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The origin."""
        return torch.zeros(self.width, self.width, dtype=torch.float64)

    @property
    def hessians(self) -> Tensor:  # pyright: ignore[reportIncompatibleVariableOverride]
        """2 e_i e_iᵀ."""
        return torch.diag_embed(2 * torch.eye(self.width, dtype=torch.float64))

    def pareto_point(self, weights: Tensor) -> Tensor:
        return torch.zeros_like(weights)

    def merit(self, x: Tensor) -> Merit:
        least = self.values(x).amin(-1)
        return Merit(least, least, torch.zeros_like(x))

    def distance(self, x: Tensor) -> Tensor:
        return x.norm(dim=-1)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 2) -> Self:
        """The problem itself: it has nothing random; ``dim`` is ``objectives``."""
        return cls(objectives)
