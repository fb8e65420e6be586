"""Fixed weights: the mean of the objectives, or any preference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from ._checks import on_simplex, preference_of
from ._weighting import Weighting


@final
@dataclass(frozen=True)
class Linear(Weighting):
    """w = p: the gradient of Σ p_i f_i, linear in J, blind to conflict.

    :param preference: p on the simplex; None is 1/m each.
    :raises ArgumentError: a preference off the simplex, or of another length than the Gramian.

    >>> import torch
    >>> Linear(preference=(0.25, 0.75)).weights(torch.eye(2)).tolist()
    [0.25, 0.75]
    """

    name: ClassVar[str] = "linear"
    degree: ClassVar[float | None] = 0.0

    preference: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        on_simplex(self.preference)

    def solve(self, gramian: Tensor) -> Tensor:
        return preference_of(self.preference, gramian).expand(gramian.shape[:-1]).clone()


@final
@dataclass(frozen=True)
class Mean(Weighting):
    """w = 1/m each.

    >>> import torch
    >>> Mean().weights(torch.eye(4)).tolist()
    [0.25, 0.25, 0.25, 0.25]
    """

    name: ClassVar[str] = "mean"
    degree: ClassVar[float | None] = 0.0

    def solve(self, gramian: Tensor) -> Tensor:
        return preference_of(None, gramian).expand(gramian.shape[:-1]).clone()
