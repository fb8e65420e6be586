"""Product of experts: one classifier a modality and one of all of them together, multiplied as probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.models._dense import Dense
from mmtheory.rng import Draws

from ._fusion import NOT_A_SUM, Features, Fusion, check_features, several


@final
class ProductOfExperts(Fusion):
    r"""The product of a unimodal expert for each modality and a joint expert.

    .. math:: \log p = \sum_m \log q_m(\cdot \mid z_m) + \log q_\cap(\cdot \mid z) - \log Z

    The logits are the sum of the experts' logits, for which softmax gives exactly that distribution. Without the joint expert a
    product of linear experts *is* the sum fusion: it cannot express an interaction, and only then the shares are a linear split. M + 1
    experts each contain the prior of y, so that unequal classes are counted M times too often unless the biases learn otherwise.

    :param joint: width of the joint expert's hidden layer; 0 leaves it out.
    :raises ArgumentError: fewer than two modalities.

    Source: Madaan et al. 2024 (I2M2).
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        joint: int = 16,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.widths, self.classes = several(widths, "product of experts"), classes
        self.experts = nn.ModuleDict(
            {m: Dense(w, classes, draws=draws, name=f"expert {m}", dtype=dtype) for m, w in widths.items()}
        )
        self.joint: nn.Module | None = None
        if joint:
            first = Dense(sum(widths.values()), joint, draws=draws, name="joint 0", dtype=dtype)
            self.joint = nn.Sequential(
                first, nn.ReLU(), Dense(joint, classes, draws=draws, name="joint 1", dtype=dtype)
            )

    @property
    def admits(self) -> frozenset[str]:
        return super().admits if self.joint is not None else super().admits | set(NOT_A_SUM)

    def forward(self, features: Features) -> Tensor:
        logits = torch.stack(list(self._shares(features).values())).sum(0)
        if self.joint is None:
            return logits
        return logits + self.joint(torch.cat([features[m] for m in self.widths], dim=-1))

    def parts(self, features: Features) -> dict[str, Tensor] | None:
        return self._shares(features) if self.joint is None else None

    def _shares(self, features: Features) -> dict[str, Tensor]:
        check_features(features, self.widths)
        return {m: self.experts[m](z) for m, z in features.items()}

    def owner_of(self, parameter: str) -> str | None:
        room, _, rest = parameter.partition(".")
        return rest.partition(".")[0] if room == "experts" else None
