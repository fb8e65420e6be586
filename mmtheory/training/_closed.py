"""Joint cross-entropy through our own networks without a graph: the products that autograd would take, into buffers that stay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.methods import Method, Phase
from mmtheory.models import NARROW, FlatParameters, MLPEncoder, MultimodalModel, dense, linear_sum, weight_gradient

aten = torch.ops.aten
HOOKS = ("around", "on_features", "output", "losses")
"""What a method must have left as they are for its pass to be the plain one."""


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
    graph, the concatenations and the memory that is asked for and given back in every step.

    Shape: parameters with the replicate axes flattened to one, [R, …].
    """

    def __init__(self, model: MultimodalModel, flat: FlatParameters) -> None:
        self.batch_shape, self.flat = flat.batch_shape, flat
        self.rows = math.prod(flat.batch_shape)
        self.layers = {m: self._layers(model, m) for m in model.modalities}
        self.last = {m: bool(getattr(model.encoders[m], "activate", False)) for m in model.modalities}
        head = model.fusion.linear()
        self.heads = {m: self._one_axis(w) for m, w in head.weights.items()} if head else {}
        self.biases = [self._one_axis(b) for b in head.biases] if head else []
        self.reached = frozenset(model.owners)
        self._buffers: dict[int, dict[object, Tensor]] = {}
        self._buffer: dict[object, Tensor] = {}

    @staticmethod
    def serves(model: MultimodalModel, method: Method) -> bool:
        """Whether every pass of this method over this model may be taken here (given complete inputs and one row)."""
        plain = all(getattr(type(method), hook) is getattr(Method, hook) for hook in HOOKS)
        ours = all(isinstance(e, MLPEncoder) and not e.twice for e in model.encoders.values())
        return plain and ours and model.fusion.linear() is not None and "create_graph" not in method.needs

    def takes(self, batch: Batch, phase: Phase) -> bool:
        """Whether this pass is plain: everybody heard and present, one row, labels as class numbers."""
        everybody = phase.hear is None or phase.hear >= set(self.layers)
        return everybody and phase.rows == ("total",) and not batch.present and batch.y.dtype == torch.int64

    def __call__(self, batch: Batch) -> Passed:
        """Features, logits, loss [*batch] and flat gradient [*batch, P] of one mini-batch."""
        n = batch.n
        self._buffer = self._buffers.setdefault(n, {})
        kept = {m: self._forward(m, batch.x[m].reshape(self.rows, n, -1)) for m in self.layers}
        top = {m: h[-1] for m, h in kept.items()}
        bias = self.biases[0] if len(self.biases) == 1 else self._bias()
        logits = linear_sum(
            [top[m] for m in self.heads],
            list(self.heads.values()),
            bias,
            out=self._product("logits", n, bias.shape[-1]),
        )
        loss, g = self._cross_entropy(logits, batch.y.reshape(self.rows, n))
        pieces = self._head_gradients(top, g)
        for m, hs in kept.items():
            pieces |= self._backward(m, hs, g)
        return Passed(
            {m: self._restored(z) for m, z in top.items()},
            self._restored(logits),
            loss.reshape(self.batch_shape),
            self._side_by_side(pieces).view(self.flat.data.shape),
        )

    def _forward(self, m: str, x: Tensor) -> list[Tensor]:
        kept = [x]
        for i, (weight, bias) in enumerate(self.layers[m]):
            h = dense(kept[-1], weight, bias, out=self._product((m, i), x.shape[1], weight.shape[-1]))
            kept.append(h.relu_() if self.last[m] or i < len(self.layers[m]) - 1 else h)
        return kept

    def _cross_entropy(self, logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of each replicate [R] and its gradient to the logits [R, n, classes]."""
        narrow, n = logits.shape[-1] < NARROW, logits.shape[1]
        axis = 1 if narrow else 2
        scores, labels = logits.mT if narrow else logits, y.unsqueeze(axis)
        logp, seed, g = (self._like(name, scores) for name in ("logp", "seed", "cotangent"))
        aten._log_softmax.out(scores, axis, False, out=logp)  # noqa: FBT003, SLF001 (autograd's own kernel)
        loss = (-logp.gather(axis, labels).squeeze(axis)).mean(-1)
        seed.zero_().scatter_(axis, labels, -1 / n)
        aten._log_softmax_backward_data.out(seed, logp, axis, logp.dtype, out=g)  # noqa: SLF001
        return loss, g.mT if narrow else g

    def _head_gradients(self, top: dict[str, Tensor], g: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        for m, weight in self.heads.items():
            shape = weight.shape[1:] if g.shape[-1] >= NARROW else weight.mT.shape[1:]
            found[int(weight.storage_offset())] = weight_gradient(top[m], g, out=self._out(("head", m), *shape))
        total = torch.sum(g, -2, out=self._out("bias", g.shape[-1]))
        return found | {int(b.storage_offset()): total for b in self.biases}

    def _backward(self, m: str, kept: list[Tensor], cotangent: Tensor) -> dict[int, Tensor]:
        found: dict[int, Tensor] = {}
        n, layers = cotangent.shape[1], self.layers[m]
        g = torch.bmm(cotangent, self.heads[m].mT, out=self._out((m, "top"), n, layers[-1][0].shape[-1]))
        for i in reversed(range(len(layers))):
            weight, bias = layers[i]
            if self.last[m] or i < len(layers) - 1:
                aten.threshold_backward.grad_input(g, kept[i + 1], 0, grad_input=g)
            shape = weight.shape[1:] if g.shape[-1] >= NARROW else weight.mT.shape[1:]
            found[int(weight.storage_offset())] = weight_gradient(kept[i], g, out=self._out((m, i, "weight"), *shape))
            found[int(bias.storage_offset())] = torch.sum(g, -2, out=self._out((m, i, "bias"), g.shape[-1]))
            if i:
                g = torch.bmm(g, weight.mT, out=self._out((m, i, "input"), n, weight.shape[-2]))
        return found

    def _side_by_side(self, pieces: dict[int, Tensor]) -> Tensor:
        """The gradients in the order of their columns, zeros where no pass reaches, [R, P]."""
        parts: list[Tensor] = []
        at = 0
        for start, piece in sorted(pieces.items()):
            if start > at:
                parts.append(piece.new_zeros(self.rows, start - at))
            parts.append(piece.reshape(self.rows, -1))
            at = start + parts[-1].shape[-1]
        if at < self.flat.data.shape[-1]:
            parts.append(parts[0].new_zeros(self.rows, self.flat.data.shape[-1] - at))
        return torch.cat(parts, dim=-1)

    def _bias(self) -> Tensor:
        total = self.biases[0] + self.biases[1]
        for b in self.biases[2:]:
            total = total + b
        return total

    def _layers(self, model: MultimodalModel, m: str) -> list[tuple[Tensor, Tensor]]:
        parts = [self._one_axis(p) for p in model.encoders[m].parameters()]
        return list(zip(parts[::2], parts[1::2], strict=True))

    def _one_axis(self, p: Tensor) -> Tensor:
        """A view of the flat buffer with one replicate axis; its storage offset is its first column."""
        return p.detach().flatten(0, len(self.batch_shape) - 1) if self.batch_shape else p.detach().unsqueeze(0)

    def _restored(self, z: Tensor) -> Tensor:
        return z.unflatten(0, self.batch_shape) if self.batch_shape else z.squeeze(0)

    def _product(self, name: object, n: int, width: int) -> Tensor:
        return self._out(name, width, n) if width < NARROW else self._out(name, n, width)

    def _out(self, name: object, *shape: int) -> Tensor:
        if name not in self._buffer:
            self._buffer[name] = self.flat.data.new_empty(self.rows, *shape)
        return self._buffer[name]

    def _like(self, name: str, scores: Tensor) -> Tensor:
        return self._out(name, *scores.shape[1:])
