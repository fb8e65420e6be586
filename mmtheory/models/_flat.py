"""One flat buffer behind many parameters: owners are column ranges, gradients and optimiser states are tensors of one shape."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError


@final
class FlatParameters:
    """The parameters of several owners, re-laid as columns of one tensor [*batch, P].

    Every parameter keeps working as it did (its data become a view); an owner's parameters are adjacent columns, so that "step only the
    encoder of audio" is one slice and a per-replicate learning rate one broadcast.

    :param owned: owner → its parameters; no parameter may stand under two owners.
    :param batch_shape: the replicate axes in front of every parameter.
    :raises ArgumentError: a parameter under two owners, of another dtype or device, or without the replicate axes in front.

    >>> w = nn.Parameter(torch.ones(2, 3)); flat = FlatParameters({"a": [w]}, ())
    >>> flat.data.mul_(2); bool((w == 2).all())
    tensor([2., 2., 2., 2., 2., 2.])
    True
    """

    def __init__(self, owned: Mapping[str, Iterable[nn.Parameter]], batch_shape: Sequence[int]) -> None:
        self.batch_shape = tuple(batch_shape)
        self.parameters: list[nn.Parameter] = []
        self.columns: dict[str, slice] = {}
        self.spans: list[slice] = []
        seen: set[int] = set()
        at = 0
        for owner, parameters in owned.items():
            start = at
            for p in parameters:
                self._admit(owner, p, seen)
                width = p.numel() // math.prod(self.batch_shape)
                self.parameters.append(p)
                self.spans.append(slice(at, at + width))
                at += width
            self.columns[owner] = slice(start, at)
        if not self.parameters:
            raise ArgumentError("flat parameters: expected at least one parameter, found none")
        self.data = torch.cat([self._row(p.detach()) for p in self.parameters], dim=-1)
        for p, span in zip(self.parameters, self.spans, strict=True):
            p.data = self.data[..., span].view(p.shape)

    def _admit(self, owner: str, p: nn.Parameter, seen: set[int]) -> None:
        if id(p) in seen:
            raise ArgumentError(
                f"flat parameters: expected every parameter under one owner, found one twice, again under {owner!r}"
            )
        if tuple(p.shape[: len(self.batch_shape)]) != self.batch_shape:
            raise ArgumentError(
                f"flat parameters: expected {owner!r} to begin with {self.batch_shape}, found {tuple(p.shape)}"
            )
        if self.parameters and (p.dtype, p.device) != (self.parameters[0].dtype, self.parameters[0].device):
            raise ArgumentError(
                f"flat parameters: expected one dtype and device, found {p.dtype} on {p.device} under {owner!r}"
            )
        seen.add(id(p))

    def _row(self, tensor: Tensor) -> Tensor:
        return tensor.reshape(*self.batch_shape, -1)

    @property
    def owners(self) -> tuple[str, ...]:
        """Owners in the order of their columns."""
        return tuple(self.columns)

    def gather(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """One gradient a parameter (None: not reached, zero), side by side: [*batch, P]."""
        rows = [None if g is None else self._row(g) for g in gradients]
        given = [row for row in rows if row is not None]
        if len(given) == len(rows):
            return torch.cat(given, dim=-1)
        if any(row.requires_grad for row in given):
            zeros = [self.data.new_zeros(*self.batch_shape, span.stop - span.start) for span in self.spans]
            return torch.cat([z if row is None else row for row, z in zip(rows, zeros, strict=True)], dim=-1)
        # Zeros that are written where they stay, not made first and copied then.
        out = torch.empty_like(self.data)
        for row, span in zip(rows, self.spans, strict=True):
            part = out[..., span]
            part.zero_() if row is None else part.copy_(row)
        return out

    def reached(self, gradients: Sequence[Tensor | None]) -> frozenset[str]:
        """Owners with at least one parameter that the loss reaches structurally."""
        starts = {span.start for g, span in zip(gradients, self.spans, strict=True) if g is not None}
        return frozenset(o for o, c in self.columns.items() if any(c.start <= s < c.stop for s in starts))

    def views(self, flat: Tensor, owner: str | None = None) -> list[Tensor]:
        """A flat tensor of this layout as tensors shaped like the parameters of one owner (None: all)."""
        inside = self.columns[owner] if owner else slice(0, self.data.shape[-1])
        return [
            flat[..., span].view(p.shape)
            for p, span in zip(self.parameters, self.spans, strict=True)
            if inside.start <= span.start < inside.stop
        ]
