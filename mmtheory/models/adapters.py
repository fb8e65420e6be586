"""Low-rank adapters on frozen encoders: a weight W that stays, and a product B A of low rank beside it that is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple, final

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._cnn import Convolution
from ._deep_linear import DeepLinearEncoder
from ._dense import Dense
from ._encoders import Encoder, MLPEncoder


class Matrix(NamedTuple):
    """A weight seen as a matrix from inputs to outputs; ``rows`` says that it is laid out outputs first."""

    name: str
    inputs: int
    outputs: int
    rows: bool


def frozen(module: nn.Module) -> nn.Module:
    """The module itself, its parameters now buffers: no gradient, no optimiser state and no step can reach them.

    They keep their names in ``state_dict``. Layers with statistics of their own are put in evaluation mode.

    >>> layer = frozen(nn.Linear(2, 1))
    >>> list(layer.parameters()), sorted(layer.state_dict())
    ([], ['bias', 'weight'])
    """
    for part in module.modules():
        for name, p in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, p.detach())
    return module.eval()


@final
class LowRank(nn.Module):
    r"""The update of one matrix.

    .. math:: \Delta W = s\,B A, \qquad A_{ij} \sim U(\pm 1/\sqrt{d_{in}}), \quad B = 0

    It starts at zero, so that an adapted layer starts as the frozen one; no gradient reaches A before B has moved. Parameters:
    r (d_in + d_out).

    Shape: ``down`` (Aᵀ) [*batch, d_in, r], ``up`` (Bᵀ) [*batch, r, d_out], the update [*batch, d_in, d_out].

    :param rank: r, from 1 to the smaller of d_in and d_out.
    :param scale: s; 0 would leave the layer as it is for ever, and is refused.
    :raises ArgumentError: a rank outside, or a scale that is not above 0.

    Source: Hu et al. 2022 (LoRA), with peft's initial law.
    """

    def __init__(
        self, d_in: int, d_out: int, rank: int, *, draws: Draws, name: str, scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:  # fmt: skip
        super().__init__()
        if not 1 <= rank <= min(d_in, d_out) or not scale > 0:
            raise ArgumentError(
                f"adapter of {name}: expected scale > 0 and a rank from 1 to {min(d_in, d_out)}, what a layer of {d_in} × {d_out} can have, found {scale:g} and {rank}"
            )
        start = (2 * draws.uniform(f"{name} down", d_in, rank) - 1) / math.sqrt(d_in)
        self.scale, self.down = scale, nn.Parameter(start.to(dtype))
        self.up = nn.Parameter(torch.zeros(*draws.batch_shape, rank, d_out, dtype=dtype, device=draws.device))

    def forward(self, x: Tensor) -> Tensor:
        """What the update adds to a layer's output. Shape: [*batch, n, d_in] to [*batch, n, d_out]."""
        return self.scale * (x @ self.down @ self.up)

    def update(self) -> Tensor:
        """The update itself, inputs by outputs."""
        return self.scale * (self.down @ self.up)


@final
class Adapted(Encoder):
    """A frozen encoder with a low-rank update of every dense layer and convolution in it; biases and norms stay.

    A convolution's kernel is the matrix from (channels in × kernel) to channels out. The updates are added to the weights, so that the
    encoder runs as it is, whatever is in it. With rank 0 nothing is added, and the features are the frozen ones bit for bit.

    :param inner: the encoder, which is frozen in place.
    :param rank: of every update; 0 for none.
    :param scale: factor on every update.
    :raises ArgumentError: a rank below 0 or above a layer's size, or an encoder without such layers.
    """

    def __init__(self, inner: Encoder, rank: int, *, draws: Draws, name: str, scale: float = 1.0) -> None:
        super().__init__()
        if rank < 0:
            raise ArgumentError(f"adapter of {name}: expected a rank of at least 0, found {rank}")
        found = list(matrices(inner, len(draws.batch_shape)))
        if not found:
            raise ArgumentError(f"adapter of {name}: expected an encoder with dense layers or convolutions, found none")
        dtype = inner.state_dict()[found[0].name].dtype
        self.inner, self.width, self.shape = inner, inner.width, inner.shape
        self.matrices = {m.name.replace(".", "/"): m for m in found} if rank else {}
        self.updates = nn.ModuleDict({
            key: LowRank(m.inputs, m.outputs, rank, draws=draws, name=f"{name} {m.name}", scale=scale, dtype=dtype)
            for key, m in self.matrices.items()
        })  # fmt: skip
        frozen(inner)

    def train(self, mode: bool = True) -> Adapted:  # noqa: FBT001, FBT002 (torch's own signature)
        super().train(mode)
        self.inner.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return functional_call(self.inner, self.weights(), (x,)) if self.matrices else self.inner(x)

    def weights(self) -> dict[str, Tensor]:
        """The adapted weights by their names in the inner encoder."""
        found: dict[str, Tensor] = {}
        for key, matrix in self.matrices.items():
            weight, part = self.inner.get_buffer(matrix.name), self.updates[key]
            if isinstance(part, LowRank):
                update = part.update()
                found[matrix.name] = weight + (update.mT if matrix.rows else update).reshape(weight.shape)
        return found


def matrices(module: nn.Module, replicate_axes: int = 0) -> Iterator[Matrix]:
    """The weights of dense layers and convolutions, ours and torch's own.

    :param replicate_axes: axes in front of the weights of ours.

    >>> [tuple(m) for m in matrices(nn.Sequential(nn.Linear(3, 2), nn.ReLU()))]
    [('0.weight', 3, 2, True)]
    """
    for path, part in module.named_modules():
        prefix = f"{path}." if path else ""
        if isinstance(part, (MLPEncoder, DeepLinearEncoder)):
            step = 2 if isinstance(part, MLPEncoder) else 1
            for i in range(0, len(part.layers), step):
                d_in, d_out = part.layers[i].shape[replicate_axes:]
                yield Matrix(f"{prefix}layers.{i}", d_in, d_out, rows=False)
        elif isinstance(part, Dense):
            d_in, d_out = part.weight.shape[replicate_axes:]
            yield Matrix(f"{prefix}weight", d_in, d_out, rows=False)
        elif isinstance(part, (Convolution, nn.Linear, nn.Conv2d)) and getattr(part, "groups", 1) == 1:
            shape = part.weight.shape[replicate_axes if isinstance(part, Convolution) else 0 :]
            yield Matrix(f"{prefix}weight", math.prod(shape[1:]), shape[0], rows=True)


def adapter_size(sizes: Iterator[tuple[int, int]] | list[tuple[int, int]], rank: int) -> int:
    """Parameters of adapters of one rank on matrices of these sizes: r Σ (d_in + d_out).

    >>> adapter_size([(768, 768)] * 24, rank=8)  # query and value of a ViT-B's twelve layers
    294912
    """
    return rank * sum(d_in + d_out for d_in, d_out in sizes)
