"""The interaction transformer: every modality's tokens attend to all tokens, and what they gained is handed back to each modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._attention import Block
from ._dense import Dense
from .fusion import Features


@final
class Interaction(nn.Module):
    r"""Self-attention over the tokens of all modalities together, as a residual on each modality's features.

    .. math:: [t_1 \,\|\, \dots \,\|\, t_M] \leftarrow \mathrm{Block}_L \circ \dots \circ \mathrm{Block}_1\,[\,L_m z_m\,]_m, \qquad
        \tilde z_m = z_m + O_m \max_k t_{mk}

    The order of modalities does not matter: there are no positions. Tokens of an absent modality are zero before every block; its
    features are left as they are.

    Shape: [*batch_shape, n, w_m] to [*batch_shape, n, w_m] by modality.

    :param widths: w_m by modality, two or more.
    :param d: width of a token.
    :param tokens: into how many tokens a feature vector is lifted.
    :param layers: blocks, at least 1.
    :raises ArgumentError: fewer than two modalities, sizes below 1, heads that do not divide d.

    Source: Nguyen et al. 2022, multimodal interaction module (code), with pre-norm blocks; the maximum over tokens is theirs.
    """

    def __init__(
        self, widths: Mapping[str, int], *, draws: Draws, d: int = 16, tokens: int = 2, heads: int = 2, layers: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(widths) < 2 or min(d, tokens, layers) < 1:
            raise ArgumentError(
                f"interaction: expected two modalities or more and d, tokens, layers >= 1, found {', '.join(widths) or 'none'}, {d}, {tokens}, {layers}"
            )
        self.tokens = tokens
        self.lifts = nn.ModuleDict(
            {m: Dense(w, tokens * d, draws=draws, name=f"lift {m}", dtype=dtype) for m, w in widths.items()}
        )
        self.outs = nn.ModuleDict(
            {m: Dense(d, w, draws=draws, name=f"out {m}", dtype=dtype) for m, w in widths.items()}
        )
        self.blocks = nn.ModuleList(
            Block(d, heads, draws=draws, name=f"interaction {i}", dtype=dtype) for i in range(layers)
        )

    def forward(self, features: Features, present: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        there = {m: p.unsqueeze(-1) for m, p in (present or {}).items() if m in features}
        names = sorted(features)
        h = torch.cat([self.lifts[m](features[m]).unflatten(-1, (self.tokens, -1)) for m in names], -2)
        heard = self._heard([there.get(m) for m in names], h)
        for block in self.blocks:
            h = block(h if heard is None else h * heard)
        gained = dict(zip(names, h.split(self.tokens, -2), strict=True))
        steps = {m: self.outs[m](gained[m].amax(-2)) for m in features}
        return {m: z + (torch.where(there[m], steps[m], 0.0) if m in there else steps[m]) for m, z in features.items()}

    def _heard(self, there: list[Tensor | None], h: Tensor) -> Tensor | None:
        """One for each token that is there and zero for the others, [*batch_shape, n, M tokens, 1]; None if all are."""
        masks = [p for p in there if p is not None]
        if not masks:
            return None
        of_each = torch.cat([torch.ones_like(masks[0]) if p is None else p for p in there], -1)
        return of_each.repeat_interleave(self.tokens, -1).unsqueeze(-1).to(h.dtype)
