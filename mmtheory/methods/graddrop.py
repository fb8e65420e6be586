"""GradDrop: where fused and unimodal gradient pull a weight both ways, one of the two signs is drawn and the other dropped."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory import moo

from ._method import Card, Gradients, Step, Strength
from ._strengths import ranged
from .combined import TwoRows

CACHED = 1 << 16
"""Weights that are worked on at once."""


@final
class GradDrop(TwoRows):
    r"""Gradient sign dropout between each encoder's fused and unimodal gradients.

    .. math:: P = \tfrac12\Bigl(1 + \frac{g^f + g^u}{|g^f| + |g^u|}\Bigr), \qquad
        d = \ell\,(g^f + g^u) + (1 - \ell)\,\bigl([U < P]\,(g^f_+ + g^u_+) - [U \ge P]\,(g^f_- + g^u_-)\bigr)

    Where both gradients agree in sign it is their sum, the uniform multi-loss. Its expectation is not their sum elsewhere.

    :param leak: ℓ in [0, 1], the share of the dropped part that passes; 1 is uniform multi-loss.
    :param weight: factor on the unimodal losses.
    :raises ArgumentError: leak outside [0, 1].

    Source: Chen et al. 2020 (NeurIPS).
    """

    card: ClassVar[Card] = Card(
        name="graddrop",
        source="Chen, Ngiam, Huang, Luong, Kretzschmar, Chai, Anguelov 2020 (NeurIPS)",
        summary="Draws, weight by weight, which sign of an encoder's conflicting gradients is kept.",
        fidelity="paper",
        cost="1F + 2B, one random number a weight",
        differences=(
            "the paper drops signs of the gradient by an activation, summed over the batch; here by the encoder's weights",
        ),
    )

    def __init__(self, leak: float = 0.0, *, weight: Strength = 1.0) -> None:
        super().__init__(weight)
        ranged("graddrop: leak", leak, 0, 1)
        self.leak = leak

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        self.draws = step.draws
        return super().on_gradients(step, gradients)

    def join(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        uniform = self.draws.chances(modality, fused.shape[-1], dtype=fused.dtype)
        for f, o, u in zip(*(v.split(CACHED, -1) for v in (fused, own, uniform)), strict=True):
            f.copy_(moo.graddrop(torch.stack((f, o), -2), u, leak=self.leak))
