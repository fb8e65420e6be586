"""A small transformer encoder for sequences: text tokens as vectors, frames, sensor windows."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._attention import Block, LayerNorm, over_tokens
from ._dense import Dense
from ._encoders import Encoder


@final
class TransformerEncoder(Encoder):
    """A linear lift, learnt positions, pre-norm self-attention blocks, a norm, the mean over tokens, a dense layer.

    Shape: [*batch, n, tokens, d_in] to [*batch, n, width].

    :param d_in: width of an input token.
    :param tokens: length of the sequence.
    :param width: feature width.
    :param d: width inside; 12 d² + 13 d parameters a block.
    :param heads: attention heads, which divide d.
    :param layers: blocks; 0 leaves a bag of tokens.
    :param positions: learnt positions; without them the order of the tokens does not matter.
    :raises ArgumentError: a size below 1 (layers: below 0), or heads that do not divide d.
    """

    def __init__(
        self,
        d_in: int,
        tokens: int,
        width: int,
        *,
        draws: Draws,
        name: str,
        d: int = 16,
        heads: int = 2,
        layers: int = 1,
        positions: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if min(d_in, tokens, width, d) < 1 or layers < 0:
            raise ArgumentError(
                f"encoder {name}: expected d_in, tokens, width, d >= 1 and layers >= 0, found {d_in}, {tokens}, {width}, {d}, {layers}"
            )
        self.width, self.shape = width, (tokens, d_in)
        self.lift = Dense(d_in, d, draws=draws, name=f"{name} lift", dtype=dtype)
        self.positions: nn.Parameter | None = None
        if positions:
            self.positions = nn.Parameter((0.1 * draws.normal(f"{name} positions", tokens, d)).to(dtype))
        self.blocks = nn.ModuleList(
            Block(d, heads, draws=draws, name=f"{name} block {i}", dtype=dtype) for i in range(layers)
        )
        self.norm = LayerNorm(d, draws=draws, dtype=dtype)
        self.out = Dense(d, width, draws=draws, name=f"{name} out", dtype=dtype)

    def lifted(self, x: Tensor) -> Tensor:
        """What the first block reads, [*batch, n, tokens, d]."""
        h = over_tokens(self.lift, x)
        return h if self.positions is None else h + self.positions.unsqueeze(-3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.lifted(x)
        for block in self.blocks:
            h = block(h)
        return self.out(self.norm(h).mean(-2))
