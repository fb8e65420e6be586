"""Low-rank tensor fusion: the outer product of all features and a constant, contracted with a tensor of small rank."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models._dense import Dense
from mmtheory.rng import Draws

from ._fusion import Features, Fusion, check_features, parameter, several


@final
class LowRankTensor(Fusion):
    r"""Low-rank multi-modal fusion.

    .. math:: o = \sum_{r=1}^{R} w_r \bigodot_m \big(W_m^{(r)} z_m + b_m^{(r)}\big) + c

    It is a linear map of the tensor of all products of features, one from each modality, where the constant 1 stands beside every
    modality's features (b is its weight). Zero features therefore leave exactly the lower-order terms: absence by zero is in its family.

    :param rank: R, at least 1.
    :raises ArgumentError: fewer than two modalities, or a rank below 1.

    Source: Liu et al. 2018, eq. 4 to 6.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        rank: int = 4,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if rank < 1:
            raise ArgumentError(f"low-rank tensor: expected rank >= 1, found {rank}")
        self.widths, self.classes, self.rank = several(widths, "low-rank tensor"), classes, rank
        self.factors = nn.ModuleDict({
            m: Dense(w, rank * classes, draws=draws, name=f"factor {m}", dtype=dtype) for m, w in widths.items()
        })  # fmt: skip
        bound = 1 / math.sqrt(rank)
        self.mix = parameter(draws, "mix", rank, bound=bound, dtype=dtype)
        self.bias = parameter(draws, "bias", classes, bound=bound, dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        terms = [factor(features[m]).unflatten(-1, (self.rank, self.classes)) for m, factor in self.factors.items()]
        product = terms[0]
        for term in terms[1:]:
            product = product * term
        weights = self.mix.unsqueeze(-1).unsqueeze(-3)
        return (product * weights).sum(-2) + self.bias.unsqueeze(-2)
