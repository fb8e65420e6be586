"""The joint loss through our own networks without a graph: the products that autograd would take, into buffers that stay."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.methods import Method, Phase
from mmtheory.models import NARROW, FlatParameters, MLPEncoder, MultimodalModel

from ._compiled import CompiledPlan, ready
from ._graphed import GraphedPlan, on_gpu
from ._passed import Passed
from ._settings import Kernel

aten = torch.ops.aten
_through_relu = aten.threshold_backward.grad_input

Call = Callable[[], object]


def _run(calls: Iterable[Call]) -> None:
    for call in calls:
        call()


@final
class ClosedForm:
    """One pass of plain joint training of MLP encoders under a linear head.

    It calls the very kernels that autograd calls, on operands of the same layout, so both give the same bits; what it saves is the
    graph, the memory that is asked for and given back in every step, and most of the time between the kernels. The ``compiled`` kernel
    takes a whole pass by one call, to rounding; ``graph`` takes these very kernels by one launch.
    """

    def __init__(self, model: MultimodalModel, flat: FlatParameters, kernel: Kernel = "torch") -> None:
        self.model, self.flat, self.kernel, self.reached = model, flat, kernel, frozenset(model.owners)
        if kernel == "compiled":
            ready(flat)
        elif kernel == "graph":
            on_gpu(flat)
        self._modalities = frozenset(model.modalities)
        self._plans: dict[int, Callable[[Batch], Passed]] = {}

    @staticmethod
    def serves(model: MultimodalModel, method: Method) -> bool:
        """Whether plain passes of this method over this model may be taken here."""
        ours = all(isinstance(e, MLPEncoder) and not e.twice for e in model.encoders.values())
        return method.plain() and ours and model.fusion.linear() is not None and "create_graph" not in method.needs

    def takes(self, batch: Batch, phase: Phase) -> bool:
        """Whether this pass is plain: everybody heard and present, one row, labels as class numbers or, for the squared loss, as numbers."""
        everybody = phase.hear is None or phase.hear >= self._modalities
        return (
            everybody
            and phase.rows == ("total",)
            and not batch.present
            and (batch.y.dtype == torch.int64 or batch.y.is_floating_point())
        )

    def __call__(self, batch: Batch) -> Passed:
        """Features, logits, loss [*batch] and flat gradient [*batch, P] of one mini-batch."""
        if batch.n not in self._plans:
            # Full batches and the epoch's last one: an order whose length changes must not leave a plan for every length behind.
            for n in [k for k in self._plans if k < max(self._plans)]:
                del self._plans[n]
            self._plans[batch.n] = self._plan(batch)
        return self._plans[batch.n](batch)

    def _plan(self, batch: Batch) -> Callable[[Batch], Passed]:
        if self.kernel == "compiled":
            return CompiledPlan(self.model, self.flat, batch.n, squared=batch.y.is_floating_point())
        plan = _Plan(self.model, self.flat, batch.n)
        return GraphedPlan(plan, batch) if self.kernel == "graph" else plan


class _Layer:
    """One dense layer with its operands laid out for the kernels and its results' places. Shape: one replicate axis, [R, …].

    :param below: the input's place; None for the first layer, whose input is the mini-batch.
    :param for_input: where the input's cotangent goes, None where nobody asks for it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor, n: int, *, relu: bool, below: Tensor | None, for_input: Tensor | None
    ) -> None:
        rows, d_in, d_out = weight.shape
        self.weight, self.weight_t, self.relu, self.narrow = weight, weight.mT, relu, d_out < NARROW
        self.below, self.for_input = below, for_input
        self.out = weight.new_empty((rows, d_out, n) if self.narrow else (rows, n, d_out))
        self.h = self.out.mT if self.narrow else self.out
        self.bias = bias.unsqueeze(-1 if self.narrow else -2)
        self.for_weight = weight.new_empty((rows, d_out, d_in) if self.narrow else (rows, d_in, d_out))
        self.laid = weight.new_empty(rows, d_in, d_out) if self.narrow else self.for_weight
        self.for_bias = weight.new_empty(rows, d_out)

    def forward(self, x: Tensor) -> list[Call]:
        """The output, into its place."""
        pair = (self.weight_t, x.mT) if self.narrow else (x, self.weight)
        product = partial(torch.baddbmm, self.bias, *pair, out=self.out)
        return [product, self.h.relu_] if self.relu else [product]

    def add_to(self, total: Tensor, x: Tensor) -> list[Call]:
        """This layer's product added to ``total``, laid out as ``out`` is."""
        return [partial(total.baddbmm_, *((self.weight_t, x.mT) if self.narrow else (x, self.weight)))]

    def weigh(self, x: Tensor, g: Tensor) -> list[Call]:
        """The weight's gradient from input and cotangent."""
        if self.narrow:
            return [partial(torch.bmm, g.mT, x, out=self.for_weight), partial(self.laid.copy_, self.for_weight.mT)]
        return [partial(torch.bmm, x.mT, g, out=self.for_weight)]

    def backward(self, g: Tensor) -> list[Call]:
        """Gradients of weight (unless the input is the mini-batch) and bias, and the cotangent of the input, from the output's ``g``."""
        calls: list[Call] = [partial(_through_relu, g, self.h, 0, grad_input=g)] if self.relu else []
        calls += [] if self.below is None else self.weigh(self.below, g)
        calls.append(partial(torch.sum, g, -2, out=self.for_bias))
        return calls if self.for_input is None else [*calls, partial(torch.bmm, g, self.weight_t, out=self.for_input)]


class _Plan:
    """The pass for mini-batches of n samples: every operand but the batch itself has its place in memory, so the calls are a list."""

    def __init__(self, model: MultimodalModel, flat: FlatParameters, n: int) -> None:
        self.batch_shape, self.rows, self.n = flat.batch_shape, math.prod(flat.batch_shape), n
        self.shape = flat.data.shape
        self._spare: dict[tuple[int, bool], Tensor] = {}
        self.chains = {m: self._chain(model, m) for m in model.modalities}
        linear = model.fusion.linear()
        weights = {} if linear is None else {m: self._one_axis(w) for m, w in linear.weights.items()}
        self.biases = [] if linear is None else [self._one_axis(b) for b in linear.biases]
        self.bias = self.biases[0].clone()
        self.heads = {m: self._head(w, self.chains[m]) for m, w in weights.items()}
        self.top = next(iter(self.heads.values()))
        self.bias_gradient = torch.empty_like(self.bias)
        self.axis = 1 if self.top.narrow else 2
        self.logp, self.seed, self.cotangent = (torch.empty_like(self.top.out) for _ in range(3))
        self.g = self.cotangent.mT if self.top.narrow else self.cotangent
        self.pieces = self._pieces(flat.data)
        self.flat_gradient = torch.empty_like(flat.data).view(self.rows, -1)
        self.gradient = self.flat_gradient.view(self.shape)
        self.features = {m: self._restored(chain[-1].h) for m, chain in self.chains.items()}
        self.logits = self._restored(self.top.h)
        self.upwards = {m: self._upwards(chain) for m, chain in self.chains.items()}
        self.fuse = self._fuse()
        self.downwards = {m: self._downwards(m) for m in self.chains}

    def __call__(self, batch: Batch) -> Passed:
        one = len(self.batch_shape) == 1
        x = {m: batch.x[m] if one else batch.x[m].reshape(self.rows, self.n, -1) for m in self.chains}
        for m, chain in self.chains.items():
            _run(chain[0].forward(x[m]))
            _run(self.upwards[m])
        _run(self.fuse)
        y = batch.y if one else batch.y.reshape(self.rows, self.n)
        loss = self._half_square(y) if y.is_floating_point() else self._cross_entropy(y)
        torch.sum(self.g, -2, out=self.bias_gradient)
        for m in reversed(self.chains):  # the last one's activations are still in the cache
            _run(self.downwards[m])
            first = self.chains[m][0]
            _run(first.weigh(x[m], self._cotangent(m, 0)))
        torch.cat(self.pieces, dim=-1, out=self.flat_gradient)
        return Passed(dict(self.features), self.logits, loss.view(self.batch_shape), self.gradient)

    def _upwards(self, chain: list[_Layer]) -> list[Call]:
        """From the first layer's output to the features."""
        return [call for layer in chain if layer.below is not None for call in layer.forward(layer.below)]

    def _fuse(self) -> list[Call]:
        """From the features to the logits."""
        calls: list[Call] = [
            partial(self.bias.copy_, self.biases[0]),
            *(partial(self.bias.add_, b) for b in self.biases[1:]),
        ]
        for m, head in self.heads.items():
            z = self.chains[m][-1].h
            calls += head.forward(z) if head is self.top else head.add_to(self.top.out, z)
        return calls

    def _cross_entropy(self, y: Tensor) -> Tensor:
        """Mean loss of each replicate [R]; its gradient to the logits goes to ``cotangent``."""
        axis, labels = self.axis, y.unsqueeze(self.axis)
        aten._log_softmax.out(self.top.out, axis, False, out=self.logp)  # noqa: FBT003, SLF001 (autograd's own kernel)
        loss = self.logp.gather(axis, labels).sum((1, 2)).mul_(-1 / self.n)
        self.seed.zero_().scatter_(axis, labels, -1 / self.n)
        aten._log_softmax_backward_data.out(self.seed, self.logp, axis, self.logp.dtype, out=self.cotangent)  # noqa: SLF001
        return loss

    def _half_square(self, y: Tensor) -> Tensor:
        """The same for half the squared error of one output: its gradient at the output is the residual."""
        torch.sub(self.top.out, y.unsqueeze(self.axis).to(self.top.out.dtype), out=self.cotangent)
        loss = self.cotangent.square().mul_(0.5).sum((1, 2)).mul_(1 / self.n)
        self.cotangent.mul_(1 / self.n)
        return loss

    def _cotangent(self, m: str, depth: int) -> Tensor:
        """Where the cotangent of a layer's output lies: where the layer above puts that of its input."""
        chain = self.chains[m]
        above = chain[depth + 1] if depth + 1 < len(chain) else self.heads[m]
        return self.g if above.for_input is None else above.for_input

    def _downwards(self, m: str) -> list[Call]:
        """From the logits' cotangent to every gradient of this modality but the first layer's weight."""
        chain, head = self.chains[m], self.heads[m]
        calls = head.weigh(chain[-1].h, self.g)
        calls.append(partial(torch.bmm, self.g, head.weight_t, out=head.for_input))
        for depth in reversed(range(len(chain))):
            calls += chain[depth].backward(self._cotangent(m, depth))
        return calls

    def _head(self, weight: Tensor, chain: list[_Layer]) -> _Layer:
        place = self._place(weight, len(chain))
        return _Layer(weight, self.bias, self.n, relu=False, below=chain[-1].h, for_input=place)

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
        chain: list[_Layer] = []
        for i, (w, b) in enumerate(pairs):
            below, place = (chain[-1].h, self._place(w, i)) if i else (None, None)
            chain.append(_Layer(w, b, self.n, relu=last or i < len(pairs) - 1, below=below, for_input=place))
        return chain

    def _place(self, weight: Tensor, depth: int) -> Tensor:
        """Where the cotangent of a layer's input goes: two places of each width, taken in turn by all encoders, stay in the cache."""
        rows, d_in, _ = weight.shape
        key = d_in, bool(depth % 2)
        if key not in self._spare:
            self._spare[key] = weight.new_empty(rows, self.n, d_in)
        return self._spare[key]

    def _one_axis(self, p: Tensor) -> Tensor:
        """A view of the flat buffer with one replicate axis; its storage offset is its first column."""
        return p.detach().flatten(0, len(self.batch_shape) - 1) if self.batch_shape else p.detach().unsqueeze(0)

    def _restored(self, z: Tensor) -> Tensor:
        return z.unflatten(0, self.batch_shape) if self.batch_shape else z.squeeze(0)
