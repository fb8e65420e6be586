"""Stacked dense layers: every weight carries the replicate axes in front, and one closed-form backward serves them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from mmtheory.rng import Draws

NARROW = 16
"""Below so many outputs a product is taken transposed: its rows are then samples, which is four times faster at four outputs."""


def dense(x: Tensor, weight: Tensor, bias: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x W + b for each replicate.

    Shape: x [*batch, n, d_in], weight [*batch, d_in, d_out], bias [*batch, d_out].

    :param out: where to write with one replicate axis: [R, n, d_out], or [R, d_out, n] below ``NARROW`` outputs; None for a new tensor.

    >>> dense(torch.ones(3, 1, 2), torch.ones(3, 2, 1), torch.zeros(3, 1)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """
    if x.ndim != 3 or weight.ndim != 3:
        return x @ weight + bias.unsqueeze(-2)
    if weight.shape[-1] < NARROW:
        return torch.baddbmm(bias.unsqueeze(-1), weight.mT, x.mT, out=out).mT
    return torch.baddbmm(bias.unsqueeze(-2), x, weight, out=out)


def weight_gradient(x: Tensor, g: Tensor, *, out: Tensor | None = None) -> Tensor:
    """xᵀ g, the gradient of a dense layer's weight; ``out`` is [R, d_in, d_out], or [R, d_out, d_in] below ``NARROW`` outputs."""
    if g.shape[-1] < NARROW:
        return torch.bmm(g.mT, x, out=out).mT
    return torch.bmm(x.mT, g, out=out)


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
                g = torch.ops.aten.threshold_backward.grad_input(g, kept[i + 1], 0, grad_input=torch.empty_like(g))
            if ctx.needs_input_grad[2 + 2 * i]:
                found[2 * i] = weight_gradient(kept[i], g)
                found[2 * i + 1] = g.sum(-2)
            if i or ctx.needs_input_grad[0]:
                g = torch.bmm(g, weights[i].mT)
        return (g if ctx.needs_input_grad[0] else None, None, *found)


def relu_chain(x: Tensor, parts: tuple[Tensor, ...], *, last: bool, twice: bool = False) -> Tensor:
    """Dense layers (weight, bias, weight, bias, …) with ReLU between them.

    :param last: whether a ReLU follows the last layer too.
    :param twice: keep autograd's own graph, so that gradients of gradients exist; False takes the closed-form backward.
    """
    if not twice and x.ndim == parts[0].ndim:
        lead = x.shape[:-2]
        if len(lead) == 1:
            return cast("Tensor", _ReluChain.apply(x, last, *parts))
        flat = (p.reshape(-1, *p.shape[len(lead) :]) for p in parts)
        out = cast("Tensor", _ReluChain.apply(x.reshape(-1, *x.shape[-2:]), last, *flat))
        return out.unflatten(0, lead) if lead else out.squeeze(0)
    depth = len(parts) // 2
    for i in range(depth):
        x = dense(x, parts[2 * i], parts[2 * i + 1])
        x = x.relu() if last or i < depth - 1 else x
    return x


class _Heads(torch.autograd.Function):
    """The sum of one linear map a part, differentiated in closed form."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, *parts: Tensor) -> Tensor:  # noqa: ANN401 (autograd's own signature)
        ctx.save_for_backward(*parts)
        return linear_sum(parts[::2], parts[1::2], bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        g: Tensor = grad_outputs[0]
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        found: list[Tensor | None] = []
        for i in range(0, len(saved), 2):
            found.append(torch.bmm(g, saved[i + 1].mT) if ctx.needs_input_grad[1 + i] else None)
            found.append(weight_gradient(saved[i], g) if ctx.needs_input_grad[2 + i] else None)
        return (g.sum(-2), *found)


def linear_sum(xs: Sequence[Tensor], weights: Sequence[Tensor], bias: Tensor, *, out: Tensor | None = None) -> Tensor:
    """b + Σ x_m W_m, added up in place; ``out`` as in ``dense``. Shape: one replicate axis."""
    total = dense(xs[0], weights[0], bias, out=out)
    for x, weight in zip(xs[1:], weights[1:], strict=True):
        if weight.shape[-1] < NARROW:
            total.mT.baddbmm_(weight.mT, x.mT)
        else:
            total.baddbmm_(x, weight)
    return total


def linear_heads(xs: Sequence[Tensor], weights: Sequence[Tensor], bias: Tensor, *, twice: bool = False) -> Tensor:
    """b + Σ x_m W_m for each replicate: what concatenation with one linear layer is, without the concatenation.

    Shape: each x_m [*batch, n, d_m], W_m [*batch, d_m, classes], b [*batch, classes].

    :param twice: as in ``relu_chain``.
    """
    lead = weights[0].shape[:-2]
    if twice or any(x.ndim != weights[0].ndim for x in xs):
        return sum((x @ w for x, w in zip(xs, weights, strict=True)), bias.unsqueeze(-2))
    if len(lead) != 1:
        pairs = [(x.reshape(-1, *x.shape[-2:]), w.reshape(-1, *w.shape[-2:])) for x, w in zip(xs, weights, strict=True)]
        bias = bias.reshape(-1, bias.shape[-1])
    else:
        pairs = list(zip(xs, weights, strict=True))
    out = cast("Tensor", _Heads.apply(bias, *(t for pair in pairs for t in pair)))
    return out if len(lead) == 1 else out.unflatten(0, lead) if lead else out.squeeze(0)


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
        self.twice = False

    def forward(self, x: Tensor) -> Tensor:
        return relu_chain(x, (self.weight, self.bias), last=False, twice=self.twice)
