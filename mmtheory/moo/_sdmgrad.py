"""SDMGrad: the min-norm direction pulled towards a preferred one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, certify_simplex, product, squared_norm
from ._checks import on_simplex, preference_of, within
from ._min_norm import min_norm
from ._simplex import project
from ._weighting import Weighting


@final
@dataclass(frozen=True)
class SDMGrad(Weighting):
    r"""Direction-oriented multi-objective descent, its inner programme solved exactly.

    .. math:: u = \arg\min_{u \in \Delta} \tfrac12 \|J^\top(u + \lambda p)\|^2, \qquad w = (u + \lambda p)/(1 + \lambda)

    These are min-norm weights of the rows g_i + λ Jᵀp. The stochastic form of the paper, on two independent samples, is ``descend``.

    :param lam: 0 is MGDA, ∞ the preference itself.
    :param preference: p on the simplex; None is 1/m each.
    :raises ArgumentError: a negative lam, a preference off the simplex.

    Source: Xiao, Ban & Ji 2023 (paper); the exact inner solve is derived here.

    >>> SDMGrad(lam=0.0).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.75, 0.25]
    """

    name: ClassVar[str] = "sdmgrad"
    degree: ClassVar[float | None] = 0.0

    lam: float = 0.3
    preference: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        within("lam", self.lam, 0.0)
        on_simplex(self.preference)

    def solve(self, gramian: Tensor) -> Tensor:
        p = preference_of(self.preference, gramian)
        return (min_norm(self._shifted(gramian)) + self.lam * p) / (1 + self.lam)

    def _shifted(self, gramian: Tensor) -> Tensor:
        """Gramian of the rows g_i + λ Jᵀp."""
        p = preference_of(self.preference, gramian).expand(gramian.shape[:-1])
        slopes = self.lam * product(gramian, p)
        return (
            gramian
            + slopes[..., :, None]
            + slopes[..., None, :]
            + self.lam**2 * squared_norm(gramian, p)[..., None, None]
        )

    def descend(
        self, cross: Tensor, start: Tensor, *, rate: float = 5.0, momentum: float = 0.5, rounds: int = 20
    ) -> tuple[Tensor, Tensor]:
        """Weights and inner iterate after projected gradient steps on a cross-Gramian J₁J₂ᵀ of two independent samples.

        Shape: cross ``[*batch, m, m]`` (need not be symmetric), start ``[*batch, m]`` on the simplex.

        :raises ArgumentError: a rate that is not positive, a momentum outside [0, 1), no rounds.
        """
        within("rate", rate, 0.0, open_low=True)
        within("momentum", momentum, 0.0, 1.0)
        if momentum == 1 or rounds < 1:
            raise ArgumentError(f"momentum, rounds: expected momentum < 1 and rounds >= 1, found {momentum}, {rounds}")
        if start.shape != cross.shape[:-1]:
            raise ArgumentError(f"start: expected shape {list(cross.shape[:-1])}, found {list(start.shape)}")
        p = preference_of(self.preference, cross)
        scale = cross.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt().mean(-1)[..., None, None] ** 2
        A = cross / torch.where(scale > 0, scale, 1.0)
        u, velocity = start, torch.zeros_like(start)
        for _ in range(rounds):
            velocity = momentum * velocity + product(A, u + self.lam * p)
            u = project(u - rate * velocity)
        return (u + self.lam * p) / (1 + self.lam), u

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The gap of the inner programme."""
        G, w = gramian.detach().double(), weights.detach().double()
        u = (1 + self.lam) * w - self.lam * preference_of(self.preference, G)
        return certify_simplex(self._shifted(G), u)
