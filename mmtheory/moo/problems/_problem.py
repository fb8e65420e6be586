"""What a test problem is: objectives in closed form whose Pareto set, smoothness and merit are known."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws


class Merit(NamedTuple):
    """A certified bracket of u₀: ``low`` from a point z, ``high`` from weights λ; equal where there is a closed form. Shape ``[*batch]``."""

    low: Tensor
    high: Tensor
    point: Tensor


class Problem(ABC):
    r"""m smooth objectives of d numbers, in float64, one problem for each replicate of ``batch_shape``.

    Points are ``[*batch, d]``, values ``[*batch, m]``, Jacobians ``[*batch, m, d]``; a problem and a point broadcast.
    What a problem does not know in closed form, or to a certified bracket, raises ``NotExactError``.
    """

    name: ClassVar[str]
    number: ClassVar[str]
    """The problem's number in the catalogue, P1 to P11."""

    @property
    @abstractmethod
    def objectives(self) -> int:
        """m."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """d."""

    @property
    @abstractmethod
    def smoothness(self) -> Tensor:
        """L: every objective's gradient is L-Lipschitz (the least such number, or a bound where it says so). Shape ``[*batch]``."""

    @property
    @abstractmethod
    def convexity(self) -> Tensor:
        """μ: every objective is μ-strongly convex; 0 is convex only, and a negative number is no convexity. Shape ``[*batch]``."""

    @property
    @abstractmethod
    def infima(self) -> Tensor:
        """inf f_i, ``[*batch, m]``."""

    @abstractmethod
    def values(self, x: Tensor) -> Tensor:
        """f(x)."""

    @abstractmethod
    def jacobian(self, x: Tensor) -> Tensor:
        """Rows ∇f_i(x)."""

    @abstractmethod
    def pareto_point(self, weights: Tensor) -> Tensor:
        """The Pareto point with these multipliers λ ∈ Δ, ``[*batch, d]``; on convex problems the minimiser of λᵀf."""

    @classmethod
    @abstractmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 4) -> Self:
        """A random problem of this kind for each replicate of ``draws``."""

    def merit(self, x: Tensor) -> Merit:
        r"""The merit function, zero exactly at weakly Pareto-optimal points.

        .. math:: u_0(x) = \sup_z \min_i\,(f_i(x) - f_i(z)) = \min_{\lambda \in \Delta}\Bigl(\lambda^\top f(x) - \min_z \lambda^\top f(z)\Bigr)

        The second form needs convex objectives. With two of them it is solved by bisection of the convex function's slope.

        :raises NotExactError: more than two objectives without a closed form, or objectives that are not strictly convex.

        Source: Tanabe, Fukuda & Yamashita 2022 (recalled); the bracket is derived here.
        """
        if self.objectives != 2 or not bool((self.convexity > 0).all()):
            raise NotExactError(f"{self.name}: expected two strongly convex objectives for u0, found neither those nor a closed form")  # fmt: skip
        here = self.values(x)
        low = torch.zeros_like(here[..., 0])
        high = torch.ones_like(low)
        for _ in range(45):
            middle = (low + high) / 2
            gain = here - self.values(self.pareto_point(torch.stack((middle, 1 - middle), -1)))
            rising = gain[..., 0] > gain[..., 1]
            low, high = torch.where(rising, low, middle), torch.where(rising, middle, high)
        # Either end of an active bracket of 2^-45 is optimal to rounding; a corner is where no end was ever moved.
        weight = torch.where(low == 0, 0.0, torch.where(high == 1, 1.0, (low + high) / 2))
        weights = torch.stack((weight, 1 - weight), -1)
        z = self.pareto_point(weights)
        gain = here - self.values(z)
        return Merit(gain.amin(-1), (weights * gain).sum(-1), z)

    def distance(self, x: Tensor) -> Tensor:
        """Euclidean distance from the Pareto set, ``[*batch]``.

        :raises NotExactError: a Pareto set without a closed-form projection.
        """
        raise NotExactError(f"{self.name}: expected a Pareto set with a closed-form projection, found a curved one")


def matching(what: str, tensor: Tensor, *, axes: int) -> Tensor:
    """The tensor in float64, once it has at least ``axes`` axes and finite numbers.

    :raises ArgumentError: otherwise.
    """
    if tensor.ndim < axes or not bool(tensor.isfinite().all()):
        raise ArgumentError(f"{what}: expected finite numbers on at least {axes} axes, found shape {list(tensor.shape)}")  # fmt: skip
    return tensor.double()
