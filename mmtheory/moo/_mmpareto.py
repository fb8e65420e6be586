"""MMPareto: sum where multi-modal and uni-modal gradients agree, min-norm where they conflict, then the magnitude restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import squared_norm
from ._checks import numbers, within
from ._min_norm import min_norm_of_two, pair_weights
from ._weighting import Weighting

EDGE = 0.001  # the reference implementation never gives a gradient less than this
PAIR = 2


@final
@dataclass(frozen=True)
class MMPareto(Weighting):
    r"""Weights of one encoder's multi-modal and uni-modal gradients (m = 2).

    .. math:: a = \begin{cases}(\tfrac12, \tfrac12) & \cos > 0\\ \text{min-norm} & \text{else}\end{cases}, \qquad n = 2a_0 g^m + 2a_1 g^u,
        \qquad d = \gamma \max\bigl(1, \|g^m + g^u\| / \|n\|\bigr)\, n

    With cos > 0 this is γ times the uniform sum. ``rescale="tensor"`` restores the magnitude of each parameter tensor by itself, as the
    authors' code does: a positive factor a tensor, which can turn a common descent direction into a conflicting one. ``"encoder"``, one
    factor for all of them, keeps it. ``weights`` takes the encoder's Gramian and hence rescales by encoder; ``tensor_weights`` does both.

    :param gamma: overall factor; 1.5 in the paper.
    :param rescale: over what the magnitude is restored.
    :raises ArgumentError: gamma not positive, an unknown rescale, or m other than 2.

    Source: Wei & Hu 2024 (paper) and its public code.

    >>> MMPareto(gamma=1.0).weights(torch.tensor([[1.0, 0.5], [0.5, 1.0]])).tolist()
    [1.0, 1.0]
    """

    name: ClassVar[str] = "mmpareto"
    degree: ClassVar[float | None] = 0.0

    gamma: float = 1.5
    rescale: Literal["encoder", "tensor"] = "encoder"

    def __post_init__(self) -> None:
        within("gamma", self.gamma, 0.0, open_low=True)
        if self.rescale not in {"encoder", "tensor"}:
            raise ArgumentError(f"rescale: expected encoder or tensor, found {self.rescale!r}")

    def solve(self, gramian: Tensor) -> Tensor:
        one = numbers(gramian) if gramian.shape == (PAIR, PAIR) else None
        if one is not None:
            return self._of_one(float(one[0, 0]), float(one[0, 1]), float(one[1, 1]))
        return self._restored(gramian, self._mixed(gramian))

    def tensor_weights(self, tensors: Tensor) -> Tensor:
        """Weights of every parameter tensor, from their own Gramians: ``[*batch, tensors, 2, 2]`` to ``[*batch, tensors, 2]``."""
        G = tensors.detach().double()
        whole = G.sum(-3)
        mix = self._mixed(whole)
        if self.rescale == "encoder":
            return self._restored(whole, mix)[..., None, :].expand(G.shape[:-1]).to(tensors.dtype)
        return self._restored(G, mix[..., None, :].expand(G.shape[:-1])).to(tensors.dtype)

    def _mixed(self, gramian: Tensor) -> Tensor:
        """2a: (1, 1) without conflict, twice the min-norm weights (kept off the corners) with it."""
        if gramian.shape[-1] != PAIR:
            raise ArgumentError(f"gramian: expected the 2 objectives of one encoder, found {gramian.shape[-1]}")
        return torch.where(gramian[..., 0, 1, None] > 0, 1.0, 2 * min_norm_of_two(gramian).clamp(EDGE, 1 - EDGE))

    def _of_one(self, a: float, b: float, c: float) -> Tensor:
        """The same for one pair on the host."""
        if b > 0:
            return torch.tensor((self.gamma, self.gamma), dtype=torch.float64)
        first, second = (2 * min(max(float(w), EDGE), 1 - EDGE) for w in pair_weights(a, b, c))
        length = first * (a * first + b * second) + second * (b * first + c * second)
        factor = self.gamma * max(1.0, (a + 2 * b + c) / length) ** 0.5 if length > 0 else self.gamma
        return torch.tensor((factor * first, factor * second), dtype=torch.float64)

    def _restored(self, gramian: Tensor, mix: Tensor) -> Tensor:
        """γ max(1, ‖sum‖/‖n‖) times the mix."""
        length = squared_norm(gramian, mix)
        ratio = squared_norm(gramian, torch.ones_like(mix)) / torch.where(length > 0, length, 1.0)
        factor = torch.where(length > 0, ratio.clamp(min=1).sqrt(), 1.0)
        return self.gamma * factor[..., None] * mix
