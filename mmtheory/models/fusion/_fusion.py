"""The interface of a fusion: features of several modalities in, logits out; what it can tell about each modality's share."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models._dense import linear_heads
from mmtheory.rng import Draws

Features = Mapping[str, Tensor]
PROVIDERS = ("linear split", "zero out", "mean baseline", "shapley", "auxiliary heads")
"""Names of the ways to ask a fused model what one modality says on its own (``mmtheory.methods``)."""
NOT_A_SUM = MappingProxyType({"linear split": "its logits are not a sum of one term a modality"})


@dataclass(frozen=True, slots=True)
class LinearHead:
    """Logits Σ_m z_m W_m + Σ b: a matrix [*batch, d_m, classes] a modality, and biases [*batch, classes]."""

    weights: Mapping[str, Tensor]
    biases: tuple[Tensor, ...]
    twice: bool = False

    def __call__(self, features: Features) -> Tensor:
        return linear_heads(
            [features[m] for m in self.weights], list(self.weights.values()), self.bias, twice=self.twice
        )

    @property
    def bias(self) -> Tensor:
        """The biases' sum, taken in their order."""
        return functools.reduce(torch.add, self.biases)


class Fusion(nn.Module, ABC):
    """Features by modality to logits.

    Every parameter belongs to one modality or is shared (``owner_of``); a fusion whose logits are a sum of one term a modality says so
    (``additive``) and gives them by ``parts``, which is what methods ask for instead of the fusion's name. ``refusals`` declares the
    contribution providers that it does not admit, each with the reason.

    Shape: features [*batch, n, d_m] to logits [*batch, n, classes].
    """

    classes: int
    refusals: ClassVar[Mapping[str, str]] = NOT_A_SUM

    @abstractmethod
    def forward(self, features: Features) -> Tensor:
        """Logits from the features of every modality."""

    @property
    def admits(self) -> frozenset[str]:
        """Names of the contribution providers that can serve this fusion."""
        return frozenset(PROVIDERS) - set(self.refusals)

    @property
    def additive(self) -> bool:
        """Whether the logits are a sum of one term a modality, which ``parts`` gives."""
        return "linear split" in self.admits

    def parts(self, features: Features) -> dict[str, Tensor] | None:
        """Each modality's additive share of the logits, summing to ``forward`` exactly; None when there is no such split."""
        return None

    def linear(self) -> LinearHead | None:
        """The matrices and biases of logits that are linear in the features, None when they are not."""
        return None

    def owner_of(self, parameter: str) -> str | None:
        """The modality that owns the named parameter, None for shared."""
        return None


def check_features(features: Features, widths: Mapping[str, int]) -> None:
    """:raises ArgumentError: features whose names or widths are not the fusion's."""
    found = {m: z.shape[-1] for m, z in features.items()}
    if found != dict(widths):
        raise ArgumentError(f"fusion: expected features {dict(widths)}, found {found}")


def several(widths: Mapping[str, int], name: str) -> dict[str, int]:
    """The widths, of at least two modalities.

    :raises ArgumentError: fewer than two, which have nothing to be fused by this rule.
    """
    if len(widths) < 2 or min(widths.values()) < 1:
        raise ArgumentError(f"{name}: expected at least two modalities of width 1 or more, found {dict(widths)}")
    return dict(widths)


def base_of(widths: Iterable[str], base: str | None, name: str) -> str:
    """The modality that the others modulate; None takes the last name in alphabetical order, so that no position decides.

    :raises ArgumentError: a name that is no modality.
    """
    names = sorted(widths)
    if base is not None and base not in names:
        raise ArgumentError(f"{name}: expected base to be one of {names}, found {base!r}")
    return base or names[-1]


def parameter(draws: Draws, name: str, *shape: int, bound: float, dtype: torch.dtype) -> nn.Parameter:
    """A parameter uniform on ±bound, each replicate from its own stream."""
    return nn.Parameter(((2 * draws.uniform(name, *shape) - 1) * bound).to(dtype))
