"""Attention fusions: every modality attends to all others (cross-attention), or to a few shared tokens only (bottleneck)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models._attention import Block
from mmtheory.models._dense import Dense
from mmtheory.rng import Draws

from ._fusion import Features, Fusion, check_features, parameter, several


class _Tokens(Fusion):
    """What attention fusions share: features to tokens before, blocks of its own for each modality, the mean of one head a modality after."""

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        name: str,
        d: int,
        tokens: int,
        heads: int,
        layers: int,
        cross: bool,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        if min(tokens, layers, d) < 1:
            raise ArgumentError(f"{name}: expected tokens, layers and d >= 1, found {tokens}, {layers}, {d}")
        self.widths, self.classes = several(widths, name), classes
        self.tokens, self.layers = tokens, layers
        self.lifts = nn.ModuleDict(
            {m: Dense(w, tokens * d, draws=draws, name=f"lift {m}", dtype=dtype) for m, w in widths.items()}
        )
        self.heads = nn.ModuleDict(
            {m: Dense(d, classes, draws=draws, name=f"head {m}", dtype=dtype) for m in widths}
        )  # fmt: skip
        self.blocks = nn.ModuleDict(
            {
                f"{m} {i}": Block(d, heads, draws=draws, name=f"block {m} {i}", cross=cross, dtype=dtype)
                for m in widths
                for i in range(layers)
            }
        )

    def lifted(self, features: Features) -> dict[str, Tensor]:
        """The tokens of every modality, [*batch, n, tokens, d]."""
        check_features(features, self.widths)
        return {m: lift(features[m]).unflatten(-1, (self.tokens, -1)) for m, lift in self.lifts.items()}

    def read(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """The mean over modalities of a head on the mean of its tokens."""
        return torch.stack([head(tokens[m].mean(-2)) for m, head in self.heads.items()]).mean(0)


@final
class CrossAttention(_Tokens):
    r"""Each modality's tokens attend to the tokens of all others, by pre-norm blocks of its own.

    .. math:: t_m \leftarrow \mathrm{Block}_{m,l}(t_m, [t_j]_{j \ne m}), \qquad o = \frac1M \sum_m H_m \overline{t_m}

    A feature vector becomes ``tokens`` tokens by a linear map. With one token and two modalities there is one key, its weight is 1
    whatever the query: the attention is a linear map then.

    :param d: width of a token; 12 d² + 15 d parameters a block.
    :param tokens: tokens a modality.
    :param heads: attention heads, which divide d.
    :param layers: blocks a modality; within a layer all attend to the tokens of the layer before.
    :raises ArgumentError: fewer than two modalities, sizes below 1, heads that do not divide d.

    Source: textbook (Tsai et al. 2019, MulT, is its M = 3 form on sequences).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        d: int = 8,
        tokens: int = 4,
        heads: int = 2,
        layers: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            widths, classes, draws=draws, name="cross-attention", d=d, tokens=tokens, heads=heads, layers=layers,
            cross=True, dtype=dtype,
        )  # fmt: skip

    def forward(self, features: Features) -> Tensor:
        tokens = self.lifted(features)
        for i in range(self.layers):
            others = {m: torch.cat([tokens[j] for j in self.widths if j != m], dim=-2) for m in tokens}
            tokens = {m: self.blocks[f"{m} {i}"](z, others[m]) for m, z in tokens.items()}
        return self.read(tokens)


@final
class Bottleneck(_Tokens):
    r"""Modalities meet in a few shared tokens only.

    .. math:: [t_m \,\|\, \hat f_m] = \mathrm{Block}_{m,l}([t_m \,\|\, f]), \quad f \leftarrow \frac1M \sum_m \hat f_m, \qquad
        o = \frac1M \sum_m H_m \overline{t_m}

    What one modality knows reaches another a layer later, so that a single layer does not fuse anything: its logits are a mean of
    unimodal ones.

    :param bottlenecks: shared tokens; few of them force the modalities to condense what they tell each other.
    :param layers: blocks a modality, at least 2 to fuse.
    :raises ArgumentError: fewer than two modalities, sizes below 1, heads that do not divide d.

    Source: Nagrani et al. 2021 (MBT), eq. 6 to 8, on tokens lifted from feature vectors; the published model reads a class token.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        d: int = 8,
        tokens: int = 4,
        bottlenecks: int = 2,
        heads: int = 2,
        layers: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(
            widths, classes, draws=draws, name="bottleneck", d=d, tokens=tokens, heads=heads, layers=layers,
            cross=False, dtype=dtype,
        )  # fmt: skip
        if bottlenecks < 1:
            raise ArgumentError(f"bottleneck: expected at least one shared token, found {bottlenecks}")
        self.shared = parameter(draws, "shared tokens", bottlenecks, d, bound=1.0, dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        tokens = self.lifted(features)
        like = next(iter(tokens.values()))
        meet = self.shared.unsqueeze(-3).expand(*like.shape[:-2], *self.shared.shape[-2:])
        for i in range(self.layers):
            mixed = {m: self.blocks[f"{m} {i}"](torch.cat([z, meet], dim=-2)) for m, z in tokens.items()}
            tokens = {m: z[..., : self.tokens, :] for m, z in mixed.items()}
            meet = torch.stack([z[..., self.tokens :, :] for z in mixed.values()]).mean(0)
        return self.read(tokens)
