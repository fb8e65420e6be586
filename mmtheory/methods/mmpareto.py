"""MMPareto: fused and unimodal gradients summed where they agree, by the min-norm point where they conflict, then made long again."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory import moo

from ._method import Card, Gradients, Strength, per_replicate
from .combined import Combined, blend, pair


@final
class MMPareto(Combined):
    r"""Each encoder's two gradients, weighed by ``moo.MMPareto``.

    .. math:: d = \gamma \max\bigl(1, \|g^f + g^u\| / \|n\|\bigr)\, n, \qquad n = 2a_0 g^f + 2a_1 g^u

    Without conflict this is γ times uniform multi-loss on the encoders: then γ is a learning rate.

    :param gamma: overall factor on the encoders' gradients, 1.5 in the paper.
    :param rescale: over what the length is restored: a whole ``encoder``, which keeps the direction a common descent direction, or each
        ``tensor`` by itself, as in the released code.
    :param weight: factor on the unimodal losses.

    Source: Wei & Hu 2024 (ICML; paper and public code).
    """

    card: ClassVar[Card] = Card(
        name="mmpareto",
        source="Wei, Hu 2024 (ICML)",
        summary="Sums fused and unimodal gradients of an encoder unless they conflict, else takes their min-norm point, rescaled.",
        fidelity="paper",
        cost="1F + 2B (the released code 1F + (M + 2)B)",
        differences=(
            "the released code restores the length tensor by tensor (rescale = 'tensor'), which can undo common descent; the default is by encoder",
            "the released code differentiates every unimodal loss separately; here their sum once, which is the same since none reaches another's encoder",
            "the unimodal losses have linear heads of their own, as the released code's; any fusion and any number of modalities",
        ),
    )

    def __init__(
        self, gamma: Strength = 1.5, *, rescale: Literal["encoder", "tensor"] = "encoder", weight: Strength = 1.0
    ) -> None:
        self.gamma = gamma
        # gamma multiplies: one a replicate is applied outside the rule
        self.rule = moo.MMPareto(gamma=1.0 if isinstance(gamma, Tensor) else gamma, rescale=rescale)
        super().__init__(self.rule, weight=weight)

    def join(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        self._by_rule(gradients, modality, fused, own)
        if isinstance(self.gamma, Tensor):
            fused.mul_(per_replicate(self.gamma, fused))

    def _by_rule(self, gradients: Gradients, modality: str, fused: Tensor, own: Tensor) -> None:
        if self.rule.rescale == "encoder":
            super().join(gradients, modality, fused, own)
            return
        start = gradients.flat.columns[modality].start
        spans = [
            slice(s.start - start, s.stop - start)
            for s in gradients.flat.spans
            if start <= s.start < gradients.flat.columns[modality].stop
        ]
        w = self.rule.tensor_weights(torch.stack([pair(fused[..., s], own[..., s]) for s in spans], -3)).to(fused.dtype)
        for k, s in enumerate(spans):
            blend(fused[..., s], own[..., s], w[..., k, :])
