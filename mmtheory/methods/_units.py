"""Units of an encoder's layers (columns of a dense matrix, filters of a convolution): which gradient entries are one unit's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from ._method import Gradients, Step

LARGE = 1 << 17
"""Numbers whose squares stay in a core's cache."""


@final
@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's gradients [*batch, …] with the axis of its units; the first is its weight, a bias of as many units goes with it."""

    parts: tuple[Tensor, ...]
    axes: tuple[int, ...]
    lead: int

    @property
    def units(self) -> int:
        """Output units."""
        return self.parts[0].shape[self.axes[0]]

    def squares(self) -> Tensor:
        """Squared gradient norm of every unit, [*batch, units]."""
        each = [self._square(g, axis % g.ndim) for g, axis in zip(self.parts, self.axes, strict=True)]
        return torch.stack(each).sum(0)

    def _square(self, g: Tensor, axis: int) -> Tensor:
        others = [a for a in range(self.lead, g.ndim) if a != axis]
        # A norm along an axis that is not the last is ten times slower than squares and their sum, and a large layer's squares would
        # go through the memory twice: by pieces they stay in the cache.
        size = math.prod(g.shape[self.lead :])
        if others and others[0] == self.lead and size > LARGE:
            pieces = g.split(max(1, LARGE * g.shape[self.lead] // size), dim=self.lead)
            return torch.stack([piece.square().sum(others) for piece in pieces]).sum(0)
        return g.square().sum(others) if others else g.square()

    def scale(self, factor: Tensor) -> None:
        """Multiply every unit's gradient by its factor [*batch, units], in place."""
        for g, axis in zip(self.parts, self.axes, strict=True):
            after = g.ndim - axis % g.ndim - 1
            before = g.ndim - self.lead - 1 - after
            shaped = factor.reshape(*factor.shape[:-1], *(1,) * before, factor.shape[-1], *(1,) * after)
            g.mul_(shaped.to(g.dtype))


def encoder_layers(step: Step, gradients: Gradients, modality: str, row: str = "total") -> list[Layer]:
    """The layers of one modality's encoder, in order: every weight of two or more axes, and the vector after it if it fits.

    A convolution's weight has its filters first, any other weight its units last. Gains, offsets and other vectors that follow no
    weight belong to no layer.
    """
    lead = len(step.model.batch_shape)
    own = {id(p) for p in step.model.encoders[modality].parameters()}
    at = gradients.flat.columns[modality]
    inside = [
        p
        for p, span in zip(gradients.flat.parameters, gradients.flat.spans, strict=True)
        if at.start <= span.start < at.stop
    ]
    layers: list[Layer] = []
    for p, g in zip(inside, gradients.tensors(row, modality), strict=True):
        if id(p) not in own:
            continue
        if g.ndim - lead >= 2:
            layers.append(Layer((g,), (lead if g.ndim - lead == 4 else g.ndim - 1,), lead))
        elif layers and len(layers[-1].parts) == 1 and layers[-1].units == g.shape[-1]:
            layers[-1] = Layer((*layers[-1].parts, g), (*layers[-1].axes, g.ndim - 1), lead)
    return layers
