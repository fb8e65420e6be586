"""Recurrent inference of the units that are not seen, as one function with a closed-form gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._machine import MultimodalRBM

Boost = float | Tensor
FIELDS = 5
"""Tensors of a group that the function is given: weight, bias, values, which are seen, boost."""


@final
@dataclass(frozen=True)
class Completion:
    """Hidden probabilities [*batch_shape, n, H] after the last sweep, and logits [*batch_shape, n, D_m] of each group not wholly seen."""

    hidden: Tensor
    logits: Mapping[str, Tensor]


def recurrent(
    machine: MultimodalRBM,
    x: Mapping[str, Tensor],
    *,
    sweeps: int,
    seen: Mapping[str, Tensor] | None = None,
    boost: Mapping[str, Boost] | None = None,
    horizon: int | None = None,
) -> Completion:
    r"""Fill in the units that are not seen by so many mean-field sweeps: hidden → visible → hidden.

    .. math:: h^0 = \sigma\Big(b + \sum_m \beta_m W_m^\top (s_m \odot x_m)\Big), \quad
        \hat x_m^t = \sigma(W_m h^{t-1} + a_m), \quad
        h^t = \sigma\Big(b + \sum_m W_m^\top \big(s_m \odot x_m + (1 - s_m) \odot \hat x_m^t\big)\Big)

    An approximation of P(unseen | seen) and of P(h | seen), not their equal, however many sweeps there are; without unseen units the first
    h is exact. The gradient is the exact one of these sweeps, in 6n + 5 matrix products for one group predicted from another.

    Shape: x[m] and seen[m] [*batch_shape, n, D_m].

    :param x: values by group; a group that is not there is not seen at all.
    :param sweeps: n; 0 reads everything off the first h.
    :param seen: which units of a group are clamped to their values (bool); a group without an entry is clamped as a whole.
    :param boost: factors β on a group's part of the first h alone, numbers or tensors [*batch_shape, n, 1] without gradient. By default
        the number of groups over that of groups in x, which doubles one of two ("weight doubling").
    :param horizon: sweeps from the last that the gradient goes back through; None for all, 0 for the last h alone.
    :raises ArgumentError: an unknown group, other widths, no group at all, or a negative number of sweeps.

    Source: Sohn, Shang and Lee 2014, recurrent inference and its back-propagation (code).
    """
    if sweeps < 0 or (horizon is not None and horizon < 0):
        raise ArgumentError(f"rbm: expected sweeps and horizon >= 0, found {sweeps} and {horizon}")
    if not x:
        raise ArgumentError("rbm: expected the values of some group, found none")
    machine.checked(x)
    seen, boost = seen or {}, boost or {}
    if lost := set(seen) - set(x):
        raise ArgumentError(
            f"rbm: expected the values of every group that is partly seen, found none of {sorted(lost)}"
        )
    standard = len(machine.groups) / len(x)
    lead = machine.batch_shape
    tensors: list[Tensor | None] = []
    factors: list[float] = []
    for m in machine.groups:
        factor = boost.get(m, standard)
        factors.append(1.0 if isinstance(factor, Tensor) else factor)
        varying = factor if isinstance(factor, Tensor) else None
        rows = (_flat(part, lead, 2) for part in (x.get(m), seen.get(m), varying))
        tensors += [_flat(machine.weights[m], lead, 2), _flat(machine.biases[m], lead, 1), *rows]
    plan = _Plan(sweeps, sweeps if horizon is None else min(horizon, sweeps), tuple(factors))
    found = cast("tuple[Tensor, ...]", _Sweeps.apply(plan, _flat(machine.hidden, lead, 1), *tensors))
    whole = [t.reshape(*lead, *t.shape[1:]) for t in found]
    free = [m for m in machine.groups if m not in x or m in seen]
    return Completion(whole[0], dict(zip(free, whole[1:], strict=True)))


def _flat(tensor: Tensor | None, lead: torch.Size, own: int) -> Tensor | None:
    """One replicate axis in place of any number of them."""
    return None if tensor is None else tensor.expand(*lead, *tensor.shape[-own:]).reshape(-1, *tensor.shape[-own:])


@final
@dataclass(frozen=True)
class _Plan:
    sweeps: int
    horizon: int
    factors: tuple[float, ...]


@final
@dataclass(frozen=True)
class _Group:
    """One group's tensors: [R, D, H], [R, D], [R, n, D] or None, the same of bool, [R, n, 1] or None."""

    weight: Tensor
    bias: Tensor
    x: Tensor | None
    seen: Tensor | None
    boost: Tensor | None
    factor: float

    @property
    def free(self) -> bool:
        return self.x is None or self.seen is not None

    def clamped(self) -> Tensor:
        """The values that are seen, zero elsewhere."""
        x = cast("Tensor", self.x)
        return x if self.seen is None else torch.where(self.seen, x, 0)

    def boosted(self, part: Tensor, onto: Tensor | None = None) -> Tensor:
        """The part times its boost, added to another."""
        part = part if self.boost is None else part * self.boost
        if onto is None:
            return part if self.factor == 1.0 else part * self.factor
        return torch.add(onto, part, alpha=self.factor)

    def logits(self, h: Tensor) -> Tensor:
        return torch.baddbmm(self.bias.unsqueeze(-2), h, self.weight.mT)

    def filled(self, h: Tensor) -> Tensor:
        """Values where they are seen, probabilities elsewhere."""
        guess = self.logits(h).sigmoid_()
        return guess if self.seen is None or self.x is None else torch.where(self.seen, self.x, guess)


def _groups(plan: _Plan, tensors: tuple[Tensor | None, ...]) -> list[_Group]:
    rows = [tensors[i : i + FIELDS] for i in range(0, len(tensors), FIELDS)]
    return [
        _Group(cast("Tensor", w), cast("Tensor", a), x, seen, boost, factor)
        for (w, a, x, seen, boost), factor in zip(rows, plan.factors, strict=True)
    ]


class _Sweeps(torch.autograd.Function):
    """The sweeps, differentiated in closed form: every product of the backward writes into one accumulator a parameter."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, hidden: Tensor, *tensors: Tensor | None) -> tuple[Tensor, ...]:  # noqa: ANN401 (autograd's own signature)
        groups = _groups(plan, tensors)
        steady = first = hidden.unsqueeze(-2)
        for g in groups:
            if g.x is None:
                continue
            part = torch.bmm(g.clamped(), g.weight)
            first = g.boosted(part, first)
            if g.seen is None:
                steady = steady + part
        hs, filled = [torch.sigmoid(first)], list[Tensor]()
        free = [g for g in groups if g.free]
        for _ in range(plan.sweeps if free else 0):
            h: Tensor | None = None
            for g in free:
                v = g.filled(hs[-1])
                filled.append(v)
                h = torch.baddbmm(steady, v, g.weight) if h is None else h.baddbmm_(v, g.weight)
            hs.append(cast("Tensor", h).sigmoid_())
        ctx.plan, ctx.count = plan, (len(hs), len(filled))
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*hs, *filled, *tensors)
        return (hs[-1], *(g.logits(hs[-1]) for g in free))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        kept: tuple[Tensor | None, ...] = ctx.saved_tensors
        count: tuple[int, int] = ctx.count
        hs = cast("tuple[Tensor, ...]", kept[: count[0]])
        filled = cast("tuple[Tensor, ...]", kept[count[0] : sum(count)])
        groups = _groups(ctx.plan, kept[sum(count) :])
        wanted: list[bool] = [bool(ctx.needs_input_grad[2 + i * FIELDS + 2]) for i in range(len(groups))]
        back = _Back(ctx.plan, groups, hs, filled, wanted)
        found = back.run(grad_outputs[0], list(grad_outputs[1:]))
        rows = [part for k in range(len(groups)) for part in (back.weight[k], back.bias[k], back.x[k], None, None)]
        return (None, found, *rows)


@final
class _Back:
    """Back-propagation through the sweeps, from the last h to the first that the horizon lets it reach."""

    def __init__(
        self, plan: _Plan, groups: list[_Group], hs: tuple[Tensor, ...], filled: tuple[Tensor, ...], wanted: list[bool]
    ) -> None:
        self.plan, self.groups, self.hs, self.wanted = plan, groups, hs, wanted
        self.free = [k for k, g in enumerate(groups) if g.free]
        each = max(1, len(self.free))
        self.filled = [filled[i : i + each] for i in range(0, len(filled), each)]
        self.weight = [torch.zeros_like(g.weight) for g in groups]
        self.bias = [torch.zeros_like(g.bias) for g in groups]
        self.x: list[Tensor | None] = [None] * len(groups)

    def run(self, g_hidden: Tensor | None, g_logits: list[Tensor | None]) -> Tensor:
        """Gradients of weights, biases and values as attributes; that of the hidden biases [R, H] is returned."""
        last = len(self.hs) - 1
        stop = max(0, last - self.plan.horizon)
        above, first, later = g_hidden, None, None
        for t in range(last, stop - 1, -1):
            g = self._down(self.hs[t], above, g_logits)
            if g is None:
                break
            into = torch.empty_like(g) if g is above else g
            g = torch.ops.aten.sigmoid_backward.grad_input(g, self.hs[t], grad_input=into)
            if t == 0:
                first = g
                break
            above, g_logits = None, [self._up(t, i, k, g, reach=t > stop) for i, k in enumerate(self.free)]
            later = g if later is None else later.add_(g)
        self._clamped(first, later)
        sums = [part.sum(-2) for part in (first, later) if part is not None]
        return torch.stack(sums).sum(0) if sums else self.hs[0].new_zeros(self.hs[0][..., 0, :].shape)

    def _down(self, h: Tensor, g: Tensor | None, g_logits: list[Tensor | None]) -> Tensor | None:
        """From the logits of the free groups to the h that they were read off; None where nothing comes in."""
        for k, out in zip(self.free, g_logits, strict=True):
            if out is None:
                continue
            self.weight[k].baddbmm_(out.mT, h)
            self.bias[k] += out.sum(-2)
            w = self.groups[k].weight
            g = torch.bmm(out, w) if g is None else torch.baddbmm(g, out, w)
        return g

    def _up(self, t: int, i: int, k: int, g: Tensor, *, reach: bool) -> Tensor | None:
        """From the input of h at sweep t to the logits of one free group before it."""
        group, v = self.groups[k], self.filled[t - 1][i]
        self.weight[k].baddbmm_(v.mT, g)
        if not reach and not self.wanted[k]:
            return None
        out = torch.bmm(g, group.weight.mT)
        if group.seen is None:
            return torch.ops.aten.sigmoid_backward.grad_input(out, v, grad_input=out)
        if self.wanted[k]:
            self._add(k, torch.where(group.seen, out, 0))
        return torch.where(group.seen, 0, torch.ops.aten.sigmoid_backward(out, v))

    def _clamped(self, first: Tensor | None, later: Tensor | None) -> None:
        """What the seen values' own products add: with their boost before the first sweep, without it in all later ones."""
        for k, group in enumerate(self.groups):
            if group.x is None:
                continue
            steady = later if group.seen is None else None
            g = steady if first is None else group.boosted(first, steady)
            if g is None:
                continue
            self.weight[k].baddbmm_(group.clamped().mT, g)
            if self.wanted[k]:
                out = torch.bmm(g, group.weight.mT)
                self._add(k, out if group.seen is None else torch.where(group.seen, out, 0))

    def _add(self, k: int, part: Tensor) -> None:
        held = self.x[k]
        self.x[k] = part if held is None else held + part
