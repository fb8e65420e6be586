"""MoDo, MoCo and CR-MOGM: weights that follow the min-norm ones over many noisy steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, certify_simplex, product, squared_norm
from ._checks import preference_of, shaped, within
from ._min_norm import MGDA
from ._simplex import project
from ._weighting import Stateful, Weighting


@dataclass(frozen=True)
class _Descent(Stateful[Tensor]):
    """One projected gradient step on ½λᵀGλ a step; the state is λ, which starts uniform."""

    settles: ClassVar[bool] = False

    rate: float = 1e-3
    ridge: float = 0.1

    def __post_init__(self) -> None:
        within("rate", self.rate, 0.0)
        within("ridge", self.ridge, 0.0)

    def initial(self, gramian: Tensor) -> Tensor:
        return preference_of(None, gramian.double()).expand(gramian.shape[:-1]).clone()

    def advance(self, gramian: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        after = project(state - self.rate * (product(gramian, state) + self.ridge * state))
        return after, after

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The min-norm gap: how far the weights still are from what they follow."""
        return certify_simplex(gramian, weights)

    def step_certificate(self, gramian: Tensor, weights: Tensor, state: Tensor) -> Certificate:
        r"""How far weights are from the projection of λ − γ(G + ρI)λ, by the inequality that a projection obeys.

        .. math:: \mathrm{gap} = \max_{v \in \Delta} \langle \lambda - \gamma (G + \rho I)\lambda - w,\, v - w\rangle \ge \|w - \Pi_\Delta\|^2
        """
        G, w = gramian.detach().double(), weights.detach().double()
        rest = state - self.rate * (product(G, state) + self.ridge * state) - w
        gap = (rest.amax(-1) - (rest * w).sum(-1)).clamp(min=0)
        outside = torch.maximum((w.sum(-1) - 1).abs(), (-w).amax(-1).clamp(min=0))
        nothing = torch.zeros_like(gap)
        return Certificate(gap, outside, nothing, nothing, squared_norm(G, w))


@final
@dataclass(frozen=True)
class MoDo(_Descent):
    r"""Double sampling: the weights descend on an unbiased estimate of the Gramian.

    .. math:: \lambda \leftarrow \Pi_\Delta\bigl(\lambda - \gamma (J_1 J_2^\top + \rho I)\lambda\bigr)

    J₁ and J₂ come from independent samples, so the product has no bias (and no symmetry): hand it to ``double_sampled``. The parameters move
    along a third sample's gradients, or the mean of the two.

    :param rate: γ; 0 keeps the weights where they are.
    :param ridge: ρ, which pulls towards uniform weights; 0 follows MGDA.
    :raises ArgumentError: a negative rate or ridge.

    Source: Chen, Fernando, Ying & Chen 2023, Three-way trade-off (paper).

    >>> import torch
    >>> MoDo(rate=1.0, ridge=0.0).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "modo"

    def double_sampled(self, cross: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Weights and next state from a cross-Gramian J₁J₂ᵀ, which need not be symmetric.

        :raises ArgumentError: a wrong shape.
        """
        weights, after = self.advance(shaped(cross).detach().double(), state)
        return weights.to(cross.dtype), after


@final
@dataclass(frozen=True)
class MoCo(_Descent):
    r"""Stochastic correction: rows are tracked over time, and the weights descend on the Gramian of the tracked rows.

    .. math:: Y \leftarrow Y - \beta(Y - \hat J), \qquad \lambda \leftarrow \Pi_\Delta\bigl(\lambda - \gamma (YY^\top + \rho I)\lambda\bigr)

    The Gramian given here is that of Y (see ``track``), and the update is Yᵀλ.

    :param rate: γ; 0 keeps the weights where they are.
    :param ridge: ρ; 0 follows MGDA.
    :raises ArgumentError: a negative rate or ridge.

    Source: Fernando et al. 2023 (paper).

    >>> import torch
    >>> MoCo(rate=1.0, ridge=0.0).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "moco"
    fresh: ClassVar[float] = 0.5

    rate: float = 0.1
    ridge: float = 0.0


def track(tracked: Sequence[Tensor], rows: Sequence[Tensor], beta: float) -> None:
    """Move tracked rows towards fresh ones in place, ``y ← y − β(y − ĝ)``; β = 1 forgets the past, 0 the present.

    :raises ArgumentError: beta outside [0, 1], another number of rows.

    Source: Fernando et al. 2023, MoCo (paper).

    >>> y = torch.tensor([1.0, 3.0])
    >>> track([y], [torch.tensor([3.0, 3.0])], 0.5), y.tolist()
    (None, [2.0, 3.0])
    """
    within("beta", beta, 0.0, 1.0)
    if len(tracked) != len(rows):
        raise ArgumentError(f"rows: expected {len(tracked)}, one a tracked row, found {len(rows)}")
    for old, new in zip(tracked, rows, strict=True):
        old.lerp_(new, beta)


@final
@dataclass(frozen=True)
class CRMOGM(Stateful[Tensor]):
    r"""A running mean of another weighting's weights, which takes the noise out of them.

    .. math:: \lambda_t = a \lambda_{t-1} + (1 - a) \hat\lambda_t

    :param decay: a; 0 is the inner weighting itself.
    :param inner: whose weights are averaged.
    :raises ArgumentError: decay outside [0, 1], an inner weighting that has a memory.

    Source: Zhou et al. 2022 (paper).

    >>> import torch
    >>> CRMOGM(decay=0.5).weights(torch.tensor([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.625, 0.375]
    """

    name: ClassVar[str] = "cr-mogm"
    settles: ClassVar[bool] = False

    decay: float = 0.9
    inner: Weighting = field(default_factory=MGDA)

    def __post_init__(self) -> None:
        within("decay", self.decay, 0.0, 1.0)
        if isinstance(self.inner, Stateful):
            raise ArgumentError(f"inner: expected a weighting without a memory of its own, found {self.inner}")

    def initial(self, gramian: Tensor) -> Tensor:
        return preference_of(None, gramian.double()).expand(gramian.shape[:-1]).clone()

    def advance(self, gramian: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        after = self.decay * state + (1 - self.decay) * self.inner.solve(gramian)
        return after, after

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The inner weighting's own certificate."""
        return self.inner.certificate(gramian, weights)
