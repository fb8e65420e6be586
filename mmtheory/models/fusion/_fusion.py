"""The interface of a fusion: features of several modalities in, logits out; what it can tell about each modality's share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from mmtheory.errors import ArgumentError

Features = Mapping[str, Tensor]


class Fusion(nn.Module, ABC):
    """Features by modality to logits.

    Every parameter belongs to one modality or is shared (``owner_of``); a fusion whose logits are a sum of one term a modality says so
    (``additive``) and gives them by ``parts``, which is what methods ask for instead of the fusion's name.

    Shape: features [*batch, n, d_m] to logits [*batch, n, classes].
    """

    classes: int
    additive: ClassVar[bool] = False

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Logits from the features of every modality."""

    def parts(self, features: Features) -> dict[str, Tensor] | None:
        """Each modality's additive share of the logits, summing to ``forward`` exactly; None when there is no such split."""
        return None

    def owner_of(self, parameter: str) -> str | None:
        """The modality that owns the named parameter, None for shared."""
        return None


def check_features(features: Features, widths: Mapping[str, int]) -> None:
    """:raises ArgumentError: features whose names or widths are not the fusion's."""
    found = {m: z.shape[-1] for m, z in features.items()}
    if found != dict(widths):
        raise ArgumentError(f"fusion: expected features {dict(widths)}, found {found}")
