"""Joint cross-entropy through our own networks without a graph: the products that autograd would take, into buffers that stay."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.methods import Method, Phase
from mmtheory.models import NARROW, FlatParameters, MLPEncoder, MultimodalModel

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Passed:
    """One forward and backward; features and logits lie in buffers that the next pass overwrites."""

    features: dict[str, Tensor]
    logits: Tensor
    loss: Tensor
    gradient: Tensor


@final
class ClosedForm:
    """One pass of plain joint training of MLP encoders under a linear head.

    It calls the very kernels that autograd calls, on operands of the same layout, so both give the same bits; what it saves is the
    graph, the memory that is asked for and given back in every step, and most of the time between the kernels.
    """

    def __init__(self, model: MultimodalModel, flat: FlatParameters) -> None:
        self.model, self.flat, self.reached = model, flat, frozenset(model.owners)
        self._modalities = frozenset(model.modalities)
        self._plans: dict[int, _Plan] = {}

    @staticmethod
    def serves(model: MultimodalModel, method: Method) -> bool:
        """Whether plain passes of this method over this model may be taken here."""
        ours = all(isinstance(e, MLPEncoder) and not e.twice for e in model.encoders.values())
        return method.plain() and ours and model.fusion.linear() is not None and "create_graph" not in method.needs

    def takes(self, batch: Batch, phase: Phase) -> bool:
        """Whether this pass is plain: everybody heard and present, one row, labels as class numbers."""
        everybody = phase.hear is None or phase.hear >= self._modalities
        return everybody and phase.rows == ("total",) and not batch.present and batch.y.dtype == torch.int64

    def __call__(self, batch: Batch) -> Passed:
        """Features, logits, loss [*batch] and flat gradient [*batch, P] of one mini-batch."""
        if batch.n not in self._plans:
            # Full batches and the epoch's last one: an order whose length changes must not leave a plan for every length behind.
            for n in [k for k in self._plans if k < max(self._plans)]:
                del self._plans[n]
            self._plans[batch.n] = _Plan(self.model, self.flat, batch.n)
        return self._plans[batch.n](batch)


class _Layer:
    """One dense layer with its operands laid out for the kernels and its results' places. Shape: one replicate axis, [R, …]."""

    def __init__(self, weight: Tensor, bias: Tensor, n: int, *, relu: bool, first: bool) -> None:
        rows, d_in, d_out = weight.shape
        self.weight, self.weight_t, self.relu, self.narrow = weight, weight.mT, relu, d_out < NARROW
        self.out = weight.new_empty((rows, d_out, n) if self.narrow else (rows, n, d_out))
        self.h = self.out.mT if self.narrow else self.out
        self.bias = bias.unsqueeze(-1 if self.narrow else -2)
        self.for_weight = weight.new_empty((rows, d_out, d_in) if self.narrow else (rows, d_in, d_out))
        self.laid = weight.new_empty(rows, d_in, d_out) if self.narrow else self.for_weight
        self.for_bias = weight.new_empty(rows, d_out)
        self.for_input = None if first else weight.new_empty(rows, n, d_in)

    def forward(self, x: Tensor) -> Tensor:
        if self.narrow:
            torch.baddbmm(self.bias, self.weight_t, x.mT, out=self.out)
        else:
            torch.baddbmm(self.bias, x, self.weight, out=self.out)
        return self.h.relu_() if self.relu else self.h

    def add_to(self, total: Tensor, x: Tensor) -> None:
        """Add this layer's product to ``total``, laid out as ``out`` is."""
        if self.narrow:
            total.baddbmm_(self.weight_t, x.mT)
        else:
            total.baddbmm_(x, self.weight)

    def weigh(self, x: Tensor, g: Tensor) -> None:
        """The weight's gradient from input and cotangent."""
        if self.narrow:
            torch.bmm(g.mT, x, out=self.for_weight)
            self.laid.copy_(self.for_weight.mT)
        else:
            torch.bmm(x.mT, g, out=self.for_weight)

    def backward(self, x: Tensor, g: Tensor) -> Tensor:
        """Gradients of weight and bias, and the cotangent of the input (meaningless at the first layer)."""
        if self.relu:
            aten.threshold_backward.grad_input(g, self.h, 0, grad_input=g)
        self.weigh(x, g)
        torch.sum(g, -2, out=self.for_bias)
        return g if self.for_input is None else torch.bmm(g, self.weight_t, out=self.for_input)


class _Plan:
    """The pass for mini-batches of n samples: every operand but the batch itself has its place in memory."""

    def __init__(self, model: MultimodalModel, flat: FlatParameters, n: int) -> None:
        self.batch_shape, self.rows, self.n = flat.batch_shape, math.prod(flat.batch_shape), n
        self.shape = flat.data.shape
        self.chains = {m: self._chain(model, m) for m in model.modalities}
        linear = model.fusion.linear()
        weights = {} if linear is None else linear.weights
        self.biases = [] if linear is None else [self._one_axis(b) for b in linear.biases]
        self.heads = {
            m: _Layer(self._one_axis(w), self.biases[0], n, relu=False, first=False) for m, w in weights.items()
        }
        self.top = next(iter(self.heads.values()))
        self.bias_gradient = self.biases[0].new_empty(self.rows, self.biases[0].shape[-1])
        self.axis = 1 if self.top.narrow else 2
        self.logp, self.seed, self.cotangent = (torch.empty_like(self.top.out) for _ in range(3))
        self.g = self.cotangent.mT if self.top.narrow else self.cotangent
        self.pieces = self._pieces(flat.data)
        self.features = {m: self._restored(chain[-1].h) for m, chain in self.chains.items()}
        self.logits = self._restored(self.top.h)

    def __call__(self, batch: Batch) -> Passed:
        x = {
            m: batch.x[m] if len(self.batch_shape) == 1 else batch.x[m].reshape(self.rows, self.n, -1)
            for m in self.chains
        }
        for m, chain in self.chains.items():
            h = x[m]
            for layer in chain:
                h = layer.forward(h)
        self._fuse()
        loss = self._cross_entropy(batch.y if len(self.batch_shape) == 1 else batch.y.reshape(self.rows, self.n))
        torch.sum(self.g, -2, out=self.bias_gradient)
        for m, chain in self.chains.items():
            self._backward(chain, self.heads[m], x[m])
        gradient = torch.cat(self.pieces, dim=-1).view(self.shape)
        return Passed(dict(self.features), self.logits, loss.view(self.batch_shape), gradient)

    def _fuse(self) -> None:
        bias = self.biases[0]
        for other in self.biases[1:]:
            bias = bias + other
        self.top.bias = bias.unsqueeze(-1 if self.top.narrow else -2)
        for m, head in self.heads.items():
            z = self.chains[m][-1].h
            if head is self.top:
                head.forward(z)
            else:
                head.add_to(self.top.out, z)

    def _cross_entropy(self, y: Tensor) -> Tensor:
        """Mean loss of each replicate [R]; its gradient to the logits goes to ``cotangent``."""
        axis, labels = self.axis, y.unsqueeze(self.axis)
        aten._log_softmax.out(self.top.out, axis, False, out=self.logp)  # noqa: FBT003, SLF001 (autograd's own kernel)
        loss = self.logp.gather(axis, labels).squeeze(axis).neg_().mean(-1)
        self.seed.zero_().scatter_(axis, labels, -1 / self.n)
        aten._log_softmax_backward_data.out(self.seed, self.logp, axis, self.logp.dtype, out=self.cotangent)  # noqa: SLF001
        return loss

    def _backward(self, chain: list[_Layer], head: _Layer, x: Tensor) -> None:
        z = chain[-1].h
        head.weigh(z, self.g)
        g = torch.bmm(self.g, head.weight_t, out=head.for_input)
        for layer, below in zip(reversed(chain), (*(lower.h for lower in chain[-2::-1]), x), strict=True):
            g = layer.backward(below, g)

    def _pieces(self, data: Tensor) -> list[Tensor]:
        """Where each gradient comes to lie, in the order of the flat buffer's columns, zeros where no pass reaches."""
        found = {int(b.storage_offset()): self.bias_gradient for b in self.biases}
        for layer in itertools.chain(*self.chains.values()):
            found[int(layer.weight.storage_offset())] = layer.laid.flatten(1)
            found[int(layer.bias.storage_offset())] = layer.for_bias
        found |= {int(head.weight.storage_offset()): head.laid.flatten(1) for head in self.heads.values()}
        pieces: list[Tensor] = []
        at = 0
        for start in (*sorted(found), data.shape[-1]):
            if start > at:
                pieces.append(data.new_zeros(self.rows, start - at))
            if start in found:
                pieces.append(found[start])
                at = start + pieces[-1].shape[-1]
        return pieces

    def _chain(self, model: MultimodalModel, m: str) -> list[_Layer]:
        encoder = model.encoders[m]
        parts = [self._one_axis(p) for p in encoder.parameters()]
        last = isinstance(encoder, MLPEncoder) and encoder.activate
        pairs = list(zip(parts[::2], parts[1::2], strict=True))
        return [_Layer(w, b, self.n, relu=last or i < len(pairs) - 1, first=i == 0) for i, (w, b) in enumerate(pairs)]

    def _one_axis(self, p: Tensor) -> Tensor:
        """A view of the flat buffer with one replicate axis; its storage offset is its first column."""
        return p.detach().flatten(0, len(self.batch_shape) - 1) if self.batch_shape else p.detach().unsqueeze(0)

    def _restored(self, z: Tensor) -> Tensor:
        return z.unflatten(0, self.batch_shape) if self.batch_shape else z.squeeze(0)
