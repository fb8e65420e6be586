"""P6, P7 and P10: non-convex problems with known Pareto sets."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws

from ._problem import Problem

STEEPEST = math.pi / 8  # of the angle π/2·σ(u)
BENDING = math.pi / 2 / (6 * math.sqrt(3))  # largest second derivative of the same


@final
@dataclass(frozen=True)
class VLMOP2(Problem):
    r"""P6: two bells side by side (Fonseca's problem), whose front is concave.

    .. math:: f_{1,2} = 1 - e^{-\|x \mp \mathbf 1/\sqrt n\|^2}, \qquad \text{Pareto set } \{s\mathbf 1 : |s| \le 1/\sqrt n\}, \quad L = 2

    No linear scalarisation has its minimum inside the front; ``pareto_point`` goes along the segment in proportion to the weights.

    :param width: n.
    :raises ArgumentError: no coordinate.

    Source: Fonseca & Fleming 1995 (known); L is derived here: the Hessian is e^{−r²}(2I − 4rrᵀ).

    >>> VLMOP2(4).pareto_point(torch.tensor([0.5, 0.5])).tolist()
    [0.0, 0.0, 0.0, 0.0]
    """

    name: ClassVar[str] = "vlmop2"
    number: ClassVar[str] = "P6"

    width: int = 2

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ArgumentError(f"width: expected at least 1, found {self.width}")

    @property
    def objectives(self) -> int:
        return 2

    @property
    def dim(self) -> int:
        return self.width

    @property
    def smoothness(self) -> Tensor:
        return torch.tensor(2.0, dtype=torch.float64)

    @property
    def convexity(self) -> Tensor:
        return torch.tensor(-4 * math.exp(-1.5), dtype=torch.float64)

    @property
    def infima(self) -> Tensor:
        return torch.zeros(2, dtype=torch.float64)

    def _apart(self, x: Tensor) -> Tensor:
        """x minus each centre."""
        side = torch.tensor([[1.0], [-1.0]], dtype=torch.float64, device=x.device) / math.sqrt(self.width)
        return x[..., None, :] - side

    def values(self, x: Tensor) -> Tensor:
        return -torch.expm1(-(self._apart(x) ** 2).sum(-1))

    def jacobian(self, x: Tensor) -> Tensor:
        apart = self._apart(x)
        return 2 * apart * (-(apart**2).sum(-1, keepdim=True)).exp()

    def pareto_point(self, weights: Tensor) -> Tensor:
        place = (weights[..., :1] - weights[..., 1:]) / math.sqrt(self.width)
        return place.expand(*weights.shape[:-1], self.width)

    def distance(self, x: Tensor) -> Tensor:
        reach = 1 / math.sqrt(self.width)
        return (x - x.mean(-1, keepdim=True).clamp(-reach, reach)).norm(dim=-1)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 2) -> Self:
        """The problem itself: it has nothing random, and two objectives."""
        return cls(dim)


@final
@dataclass(frozen=True)
class SmoothDTLZ2(Problem):
    r"""P7: DTLZ2 without its box, the angles being π/2·σ(u); the front is the unit sphere's positive part.

    .. math:: f = (1 + \|y\|^2)\,\mathrm{spherical}(\tfrac{\pi}{2}\sigma(u)), \qquad \text{Pareto set } \{y = 0\}, \quad \|f\| = 1 \text{ on it}

    The corners of the sphere are reached only in the limit, so the infima (all 0) are not attained.

    :param count: m, one more than the angles.
    :param width: coordinates of y.
    :param radius: ``smoothness`` holds where ‖y‖ ≤ radius; descent steps of at most 1/L stay there, because they shrink y.
    :raises ArgumentError: fewer than two objectives or no y.

    Source: Deb et al. 2002 (known), reparametrised; the bound of L is derived here.

    >>> p = SmoothDTLZ2()
    >>> round(float((p.values(torch.zeros(5, dtype=torch.float64)) ** 2).sum()), 12)
    1.0
    """

    name: ClassVar[str] = "smooth-dtlz2"
    number: ClassVar[str] = "P7"

    count: int = 3
    width: int = 3
    radius: float = 2.0

    def __post_init__(self) -> None:
        if self.count < 2 or self.width < 1 or not self.radius > 0:
            raise ArgumentError(f"count, width, radius: expected at least 2, 1 and above 0, found {self}")

    @property
    def objectives(self) -> int:
        return self.count

    @property
    def dim(self) -> int:
        return self.count - 1 + self.width

    @property
    def smoothness(self) -> Tensor:
        angles = self.count - 1
        uu = (1 + self.radius**2) * (angles * STEEPEST**2 + BENDING)
        uy = 2 * self.radius * math.sqrt(angles) * STEEPEST
        blocks = torch.tensor([[uu, uy], [uy, 2.0]], dtype=torch.float64)
        return torch.linalg.eigvalsh(blocks)[-1]

    @property
    def convexity(self) -> Tensor:
        return -self.smoothness

    @property
    def infima(self) -> Tensor:
        return torch.zeros(self.count, dtype=torch.float64)

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Angles, their derivatives by u, and y."""
        u, y = x.split([self.count - 1, self.width], -1)
        half = torch.sigmoid(u)
        return math.pi / 2 * half, math.pi / 2 * half * (1 - half), y

    def _factors(self, angles: Tensor) -> Tensor:
        """Factor of angle j in objective i, ``[*batch, m, m − 1]``: cosines, then one sine, then nothing."""
        m = self.count
        i, j = torch.arange(m, device=angles.device)[:, None], torch.arange(m - 1, device=angles.device)
        a = angles[..., None, :]
        return torch.where(j < m - 1 - i, a.cos(), torch.where(j == m - 1 - i, a.sin(), 1.0))

    def values(self, x: Tensor) -> Tensor:
        angles, _, y = self._parts(x)
        return (1 + (y**2).sum(-1, keepdim=True)) * self._factors(angles).prod(-1)

    def jacobian(self, x: Tensor) -> Tensor:
        angles, speed, y = self._parts(x)
        m = self.count
        grow = 1 + (y**2).sum(-1)[..., None, None]
        factors = self._factors(angles)
        by_angle = list[Tensor]()
        for j in range(m - 1):
            i = torch.arange(m, device=x.device)
            a = angles[..., j, None]
            slope = torch.where(i < m - 1 - j, -a.sin(), torch.where(i == m - 1 - j, a.cos(), 0.0))
            others = torch.cat((factors[..., :j], factors[..., j + 1 :]), -1).prod(-1)
            by_angle.append(slope * others * speed[..., j, None])
        by_y = 2 * y[..., None, :] * factors.prod(-1)[..., None]
        return torch.cat((grow * torch.stack(by_angle, -1), by_y), -1)

    def pareto_point(self, weights: Tensor) -> Tensor:
        """The front's point f = √λ: there λ are the multipliers of Σλ_i = ‖f‖² = 1, not of a scalarisation. Positive λ only."""
        if not bool((weights > 0).all()):
            raise NotExactError(f"{self.name}: expected positive weights, found a corner, which no finite point reaches")  # fmt: skip
        left, u = torch.ones_like(weights[..., 0]), list[Tensor]()
        for j in range(self.count - 1):
            sine = (weights[..., self.count - 1 - j] / left).clamp(max=1).sqrt()
            u.append(torch.special.logit(sine.asin() * 2 / math.pi))
            left = left - weights[..., self.count - 1 - j]
        zero = torch.zeros(*weights.shape[:-1], self.width, dtype=weights.dtype, device=weights.device)
        return torch.cat((torch.stack(u, -1), zero), -1)

    def distance(self, x: Tensor) -> Tensor:
        return x[..., self.count - 1 :].norm(dim=-1)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 3, dim: int = 5) -> Self:
        """The problem itself: it has nothing random."""
        return cls(objectives, dim - objectives + 1)


@final
@dataclass(frozen=True)
class CAGradToy(Problem):
    r"""P10: the two-dimensional landscape of the CAGrad paper: two log-valleys above, two quadratics below, joined by tanh gates.

    The Pareto set lies below: :math:`x_1 = 7(\lambda_1 - \lambda_2)`, and x₂ solves one scalar equation. It is a slightly bent curve,
    x₂ = −8.355 in the middle and −8.434 at the ends.

    Source: the public code of SDMGrad and CAGrad, toy example (code); the Pareto curve is derived here.

    >>> [round(v, 4) for v in CAGradToy().pareto_point(torch.tensor([0.5, 0.5], dtype=torch.float64)).tolist()]
    [0.0, -8.3551]
    """

    name: ClassVar[str] = "cagrad-toy"
    number: ClassVar[str] = "P10"
    STARTS: ClassVar[tuple[tuple[float, float], ...]] = ((-8.5, 7.5), (-8.5, -5.0), (9.0, 9.0))
    FLOOR: ClassVar[float] = 5e-6

    @property
    def objectives(self) -> int:
        return 2

    @property
    def dim(self) -> int:
        return 2

    @property
    def smoothness(self) -> Tensor:
        raise NotExactError(f"{self.name}: expected a finite smoothness constant, found logarithms")

    @property
    def convexity(self) -> Tensor:
        return torch.tensor(-math.inf, dtype=torch.float64)

    @property
    def infima(self) -> Tensor:
        ends = self.pareto_point(torch.eye(2, dtype=torch.float64))
        return self.values(ends).diagonal()

    def _pieces(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Arguments of the logarithms, their sign after the floor, and the quadratics, each ``[*batch, 2]``."""
        one, two = x[..., 0], x[..., 1]
        inside = torch.stack((0.5 * (-one - 7) + two.tanh(), 0.5 * (-one + 3) - two.tanh() + 2), -1)
        sign = torch.where(inside.abs() > self.FLOOR, inside.sign(), 0.0)
        square = torch.stack(((7 - one) ** 2, (7 + one) ** 2), -1) / 10 + 0.01 * (two[..., None] + 8) ** 2 - 20
        return inside, sign, square

    def values(self, x: Tensor) -> Tensor:
        inside, _, square = self._pieces(x)
        gate = (x[..., 1:] / 2).tanh()
        return (inside.abs().clamp(min=self.FLOOR).log() + 6) * gate.clamp(min=0) + square * (-gate).clamp(min=0)

    def jacobian(self, x: Tensor) -> Tensor:
        inside, sign, square = self._pieces(x)
        one, two = x[..., 0], x[..., 1]
        gate = (x[..., 1:] / 2).tanh()
        slope = (1 - gate**2) / 2
        up, down = gate.clamp(min=0), (-gate).clamp(min=0)
        log = inside.abs().clamp(min=self.FLOOR).log() + 6
        inner = torch.where(sign != 0, 1 / torch.where(sign != 0, inside, 1.0), 0.0)
        sech = 1 - two.tanh() ** 2
        by_one = -0.5 * inner * up + torch.stack((one - 7, one + 7), -1) / 5 * down
        by_two = inner * torch.stack((sech, -sech), -1) * up + 0.02 * (two[..., None] + 8) * down
        by_two = by_two + torch.where(gate > 0, log * slope, torch.where(gate < 0, -square * slope, 0.0))
        return torch.stack((by_one, by_two), -1)

    def pareto_point(self, weights: Tensor) -> Tensor:
        low = torch.full_like(weights[..., 0], -12.0)
        high = torch.full_like(low, -8.0)
        one = 7 * (weights[..., 0] - weights[..., 1])
        for _ in range(60):
            middle = (low + high) / 2
            slope = (weights * self.jacobian(torch.stack((one, middle), -1))[..., 1]).sum(-1)
            low, high = torch.where(slope < 0, middle, low), torch.where(slope < 0, high, middle)
        return torch.stack((one, (low + high) / 2), -1)

    @classmethod
    def drawn(cls, draws: Draws, objectives: int = 2, dim: int = 2) -> Self:
        """The problem itself: it has nothing random."""
        return cls()
