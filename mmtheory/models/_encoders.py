"""Encoders: one modality's input to its features, for every replicate at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._dense import initial, relu_chain


class Encoder(nn.Module, ABC):
    """One modality's input [*batch, n, *shape] to features [*batch, n, width]; ``shape`` is one sample's, as it is declared for."""

    width: int
    shape: tuple[int, ...]

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Features of the inputs."""


@final
class MLPEncoder(Encoder):
    """Dense layers with ReLU between them; without hidden layers a linear encoder.

    Shape: [*batch, n, widths[0]] to [*batch, n, widths[-1]].

    :param widths: input width, hidden widths, feature width.
    :param activate: a ReLU after the last layer too.
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        draws: Draws,
        name: str,
        activate: bool = True,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1:
            raise ArgumentError(
                f"encoder {name}: expected an input and an output width of at least 1, found {list(widths)}"
            )
        self.width, self.shape, self.activate, self.twice = widths[-1], (widths[0],), activate, False
        self.layers = nn.ParameterList()
        for i in range(len(widths) - 1):
            self.layers.extend(initial(draws, f"{name} {i}", widths[i], widths[i + 1], dtype))

    def forward(self, x: Tensor) -> Tensor:
        return relu_chain(x, tuple(self.layers), last=self.activate, twice=self.twice)
