"""Stacked dense layers: every weight carries the replicate axes in front, and one closed-form backward serves them all."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmtheory.rng import Draws

Linearities = tuple[Tensor, ...]


def dense(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """x W + b for each replicate.

    Shape: x [*batch, n, d_in], weight [*batch, d_in, d_out], bias [*batch, d_out].

    >>> dense(torch.ones(3, 1, 2), torch.ones(3, 2, 1), torch.zeros(3, 1)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    if x.ndim == 3 and weight.ndim == 3:
        return torch.baddbmm(bias.unsqueeze(-2), x, weight)
    return x @ weight + bias.unsqueeze(-2)


class _ReluChain(torch.autograd.Function):
    """Dense layers with ReLU between them (and after the last if asked), differentiated in closed form: two products a layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, last: bool, *parts: Tensor) -> Tensor:  # noqa: ANN401, FBT001 (autograd's own signature)
        kept, h, depth = [x], x, len(parts) // 2
        for i in range(depth):
            h = dense(h, parts[2 * i], parts[2 * i + 1])
            if last or i < depth - 1:
                h = h.relu_()
            kept.append(h)
        ctx.last, ctx.depth = last, depth
        ctx.save_for_backward(*kept, *parts[::2])
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        g: Tensor = grad_outputs[0]
        depth: int = ctx.depth
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        kept, weights = saved[: depth + 1], saved[depth + 1 :]
        found: list[Tensor | None] = [None] * (2 * depth)
        for i in reversed(range(depth)):
            if ctx.last or i < depth - 1:
                g = torch.ops.aten.threshold_backward(g, kept[i + 1], 0)
            if ctx.needs_input_grad[2 + 2 * i]:
                found[2 * i] = kept[i].transpose(-1, -2) @ g
                found[2 * i + 1] = g.sum(-2)
            if i or ctx.needs_input_grad[0]:
                g = g @ weights[i].transpose(-1, -2)
        return (g if ctx.needs_input_grad[0] else None, None, *found)


def relu_chain(x: Tensor, parts: tuple[Tensor, ...], *, last: bool, twice: bool = False) -> Tensor:
    """Dense layers (weight, bias, weight, bias, …) with ReLU between them.

    :param last: whether a ReLU follows the last layer too.
    :param twice: keep autograd's own graph, so that gradients of gradients exist; False takes the closed-form backward.
    """
    if not twice:
        return cast("Tensor", _ReluChain.apply(x, last, *parts))
    depth = len(parts) // 2
    for i in range(depth):
        x = dense(x, parts[2 * i], parts[2 * i + 1])
        x = x.relu() if last or i < depth - 1 else x
    return x


def initial(draws: Draws, name: str, d_in: int, d_out: int, dtype: torch.dtype) -> tuple[nn.Parameter, nn.Parameter]:
    """Weight and bias, uniform on ±1/√d_in (PyTorch's own law for a linear layer), each replicate from its own stream."""
    bound = 1 / math.sqrt(d_in)
    weight = (2 * draws.uniform(f"{name} weight", d_in, d_out) - 1) * bound
    bias = (2 * draws.uniform(f"{name} bias", d_out) - 1) * bound
    return nn.Parameter(weight.to(dtype)), nn.Parameter(bias.to(dtype))


class Dense(nn.Module):
    """One dense layer for every replicate.

    Shape: [*batch, n, d_in] to [*batch, n, d_out].
    """

    def __init__(self, d_in: int, d_out: int, *, draws: Draws, name: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.weight, self.bias = initial(draws, name, d_in, d_out, dtype)

    def forward(self, x: Tensor) -> Tensor:
        return dense(x, self.weight, self.bias)
