"""Late fusions: one linear head a modality (sum, which concatenation with a linear head equals), and one head shared by all."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn

from mmtheory.models._dense import Dense, relu_chain
from mmtheory.rng import Draws

from ._fusion import Features, Fusion, LinearHead, check_features

NONE: Mapping[str, str] = MappingProxyType({})


@final
class Sum(Fusion):
    r"""The sum of one linear head a modality.

    .. math:: o = \sum_m (W_m z_m + b_m)

    Source: textbook late fusion; spec name ``late_sum``.
    """

    refusals: ClassVar[Mapping[str, str]] = NONE

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, draws: Draws, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.widths, self.classes = dict(widths), classes
        self.heads = nn.ModuleDict(
            {m: Dense(d, classes, draws=draws, name=f"head {m}", dtype=dtype) for m, d in widths.items()}
        )

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        return self.linear()(features)

    def linear(self) -> LinearHead:
        heads = {m: cast("Dense", self.heads[m]) for m in self.widths}
        return LinearHead(
            {m: h.weight for m, h in heads.items()},
            tuple(h.bias for h in heads.values()),
            any(h.twice for h in heads.values()),
        )

    def parts(self, features: Features) -> dict[str, Tensor]:
        check_features(features, self.widths)
        return {m: self.heads[m](z) for m, z in features.items()}

    def owner_of(self, parameter: str) -> str | None:
        return parameter.split(".")[1]


@final
class Concat(Fusion):
    r"""One linear head on all features side by side.

    .. math:: o = W [z_1; \dots; z_M] + b

    Its additive shares give each modality b/M, so that they sum to the logits exactly.
    """

    refusals: ClassVar[Mapping[str, str]] = NONE

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, draws: Draws, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        self.widths, self.classes = dict(widths), classes
        self.head = Dense(sum(widths.values()), classes, draws=draws, name="head", dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        return self.linear()(features)

    def linear(self) -> LinearHead:
        blocks = self.head.weight.split(list(self.widths.values()), dim=-2)
        return LinearHead(dict(zip(self.widths, blocks, strict=True)), (self.head.bias,), self.head.twice)

    def parts(self, features: Features) -> dict[str, Tensor]:
        check_features(features, self.widths)
        blocks = self.head.weight.split(list(self.widths.values()), dim=-2)
        share, twice = self.head.bias / len(self.widths), self.head.twice
        return {
            m: relu_chain(features[m], (block, share), last=False, twice=twice)
            for m, block in zip(self.widths, blocks, strict=True)
        }


@final
class SharedHead(Fusion):
    r"""One linear head that every modality's features go through; the logits are their mean.

    .. math:: o = \frac1M \sum_m (W z_m + b)

    Source: the head of MLA (Zhang et al. 2024).
    """

    refusals: ClassVar[Mapping[str, str]] = NONE

    def __init__(
        self, widths: Mapping[str, int], classes: int, *, draws: Draws, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        first = next(iter(widths.values()))
        check_features({m: torch.empty(d) for m, d in widths.items()}, dict.fromkeys(widths, first))
        self.widths, self.classes = dict(widths), classes
        self.head = Dense(first, classes, draws=draws, name="head", dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        return torch.stack(list(self.parts(features).values())).sum(0)

    def parts(self, features: Features) -> dict[str, Tensor]:
        check_features(features, self.widths)
        return {m: self.head(z) / len(self.widths) for m, z in features.items()}
