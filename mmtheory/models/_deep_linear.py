"""Deep linear encoders: a product of matrices, linear in the input and not in the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._dense import initial
from ._encoders import Encoder


@final
class DeepLinearEncoder(Encoder):
    r"""A product of weight matrices without biases.

    .. math:: z = x W_1 W_2 \cdots W_L

    It expresses no more than one matrix, but gradient descent on it is another dynamics: small initial weights make plateaus, and
    what is learnt first slows down the rest.

    Shape: [*batch, n, widths[0]] to [*batch, n, widths[-1]].

    :param widths: input width, inner widths, feature width; two of them are one matrix.
    :param scale: factor on initial weights that are uniform on ±1/√d_in; 0 is a saddle that no gradient leaves when there are several.
    :raises ArgumentError: fewer than two widths, a width below 1, a negative scale.

    Source: Saxe et al. 2014 (the model).
    """

    def __init__(
        self,
        widths: Sequence[int],
        *,
        draws: Draws,
        name: str,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or min(widths) < 1 or not scale >= 0:
            raise ArgumentError(
                f"encoder {name}: expected two or more widths of at least 1 and scale >= 0, found {list(widths)}, {scale}"
            )
        self.width, self.shape = widths[-1], (widths[0],)
        self.layers = nn.ParameterList()
        for i in range(len(widths) - 1):
            weight, _ = initial(draws, f"{name} {i}", widths[i], widths[i + 1], dtype)
            self.layers.append(nn.Parameter(weight.detach() * scale))

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.layers:
            x = x @ weight
        return x

    def product(self) -> Tensor:
        """The one matrix that the layers multiply to, [*batch, d_in, d_out]."""
        layers = list(self.layers)
        found = layers[0]
        for weight in layers[1:]:
            found = found @ weight
        return found
