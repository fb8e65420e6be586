"""A small convolutional encoder for images, spectrograms and anything else on a grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._dense import Dense
from ._encoders import Encoder


@final
class Convolution(nn.Module):
    """A two-dimensional convolution of odd kernel, padded by half of it, for every replicate by one grouped convolution.

    Shape: [*batch, n, c_in, h, w] to [*batch, n, c_out, ⌈h/stride⌉, ⌈w/stride⌉].
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        *,
        draws: Draws,
        name: str,
        kernel: int = 3,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0 or stride < 1:
            raise ArgumentError(
                f"convolution {name}: expected an odd kernel and stride >= 1, found {kernel} and {stride}"
            )
        self.stride, self.kernel = stride, kernel
        bound = 1 / math.sqrt(c_in * kernel**2)
        weight = (2 * draws.uniform(f"{name} weight", c_out, c_in, kernel, kernel) - 1) * bound
        bias = (2 * draws.uniform(f"{name} bias", c_out) - 1) * bound
        self.weight, self.bias = nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        lead, image = self.weight.shape[:-4], x.shape[-3:]
        r = math.prod(lead)
        side_by_side = x.reshape(r, -1, *image).transpose(0, 1).flatten(1, 2)
        found = functional.conv2d(
            side_by_side,
            self.weight.reshape(-1, *self.weight.shape[-3:]),
            self.bias.reshape(-1),
            stride=self.stride,
            padding=self.kernel // 2,
            groups=r,
        )
        stacked = found.unflatten(1, (r, -1)).transpose(0, 1)
        return stacked.reshape(*x.shape[:-3], *stacked.shape[-3:])


@final
class CNNEncoder(Encoder):
    """Convolutions with ReLU that halve the grid, the mean over what is left of it, a dense layer with ReLU.

    There is no normalisation over samples, so that a sample's features depend on no other sample.

    Shape: [*batch, n, channels[0], h, w] to [*batch, n, width], any h and w.

    :param channels: input channels, then the channels of each convolution.
    :param width: feature width.
    :param size: height and width of the inputs it is declared for (``shape``).
    :param kernel: odd edge of the kernels.
    :param stride: of every convolution; 1 keeps the grid.
    :raises ArgumentError: fewer than two channel numbers, a number below 1, an even kernel.
    """

    def __init__(
        self,
        channels: Sequence[int],
        width: int,
        *,
        draws: Draws,
        name: str,
        size: tuple[int, int] = (8, 8),
        kernel: int = 3,
        stride: int = 2,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or min(*channels, width, *size) < 1:
            raise ArgumentError(
                f"encoder {name}: expected channels (input, first, …), width and size of at least 1, found {list(channels)}, {width}, {size}"
            )
        self.width, self.shape = width, (channels[0], *size)
        self.convolutions = nn.ModuleList(
            Convolution(
                channels[i], channels[i + 1], draws=draws, name=f"{name} {i}", kernel=kernel, stride=stride, dtype=dtype
            )
            for i in range(len(channels) - 1)
        )
        self.out = Dense(channels[-1], width, draws=draws, name=f"{name} out", dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        for convolution in self.convolutions:
            x = convolution(x).relu()
        return self.out(x.mean((-2, -1))).relu()
