"""How an encoder is run, whatever it computes: half precision with exact float32 gradients, parts of a mini-batch, memory layout, compilation."""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, final

import torch
import torch._functorch.config as functorch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, Encoder, MLPEncoder
from mmtheory.training import compiler

Precision = Literal["float32", "bf16", "fp16"]
HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
BACKEND = "inductor"
NUMBERS = itertools.count()
HIGHEST = 6
"""Binary exponent to which the largest cotangent is brought before a backward in fp16."""
FARTHEST = 126
"""Largest exponent of a scale, whose inverse float32 still holds."""
RETRIES = 6
"""Times that an overflowing backward is repeated, each time at a sixteenth of the scale."""


@dataclass(frozen=True)
class Passes:
    """How encoders are run.

    :param precision: ``bf16`` and ``fp16`` run encoders under autocast; parameters, features, losses and gradients stay in float32.
    :param accumulate: in how many parts, one after the other, an encoder takes a mini-batch.
    :param channels_last: lay pictures out with their channels last.
    :param compile: by torch.compile.
    """

    precision: Precision = "float32"
    accumulate: int = 1
    channels_last: bool = False
    compile: bool = False

    @property
    def plain(self) -> bool:
        """Whether there is nothing to do but to call the encoder."""
        return self == Passes()


def no_compiler(device: str) -> str:
    """Why torch.compile has nothing to compile with on that device; "" if it has."""
    if not device.startswith("cuda"):
        return "" if compiler() else "no C++ compiler"
    if not importlib.util.find_spec("triton"):
        return "no triton for CUDA"
    named = os.environ.get("CC")  # which compiles what launches a kernel
    return "" if any(map(shutil.which, (named,) if named else ("gcc", "clang", "cc"))) else "no C compiler"


def compiled(encoder: Encoder) -> Callable[[Tensor], Tensor]:
    """The encoder's forward by torch.compile, whose backward may be taken more than once, a loss at a time.

    Its variants (sizes, with and without gradients) are kept by code object, eight at most, after which nothing more is compiled: encoders
    of one class would share the eight, so that each gets a code of its own. And the compiler would let a backward overwrite what the
    forward kept ("donated buffers"): from the first call on the process is told not to, when it compiles and when a backward is asked for.
    """

    def run(x: Tensor) -> Tensor:  # a function: compiling the module would make another module of it
        return encoder.forward(x)

    run.__code__ = run.__code__.replace(co_name=f"run_{next(NUMBERS)}")
    made = torch.compile(run, backend=BACKEND)

    def kept(x: Tensor) -> Tensor:
        functorch.donated_buffer = False
        return made(x)

    return kept


@final
class Passed(Encoder):
    """Another encoder, run as ``passes`` says, on the device where its parameters are.

    Whoever asks for features gets float32, and every gradient that leaves is the unscaled float32 gradient of the loss that was asked
    for, whichever loss and however many. In parts, or in fp16, the encoder's backward is taken here: a part's forward is done again, so
    that no more than one part's intermediate results are alive, which costs one more forward for each loss that is differentiated and is
    exact for every loss, linear in the batch or not. Batch norms take the statistics of a part. In fp16 the cotangent is brought to a
    power of two that fits it, and a backward that overflows is repeated at a smaller one: no step is left out, nothing has to be kept.

    Batch norms learn where gradients are taken and use their running statistics elsewhere.
    """

    def __init__(self, inner: Encoder, passes: Passes, *, replicate_axes: int = 0) -> None:
        super().__init__()
        self.inner, self.passes, self.axes = inner, passes, replicate_axes
        self.width, self.shape = inner.width, inner.shape
        self.norms = [m for m in inner.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self.closed = [m for m in inner.modules() if isinstance(m, Dense | MLPEncoder)]
        if passes.channels_last:
            for module in inner.modules():
                if isinstance(module, nn.Conv2d):
                    module.register_forward_pre_hook(_channels_last)
        self.run: Callable[[Tensor], Tensor] = inner.forward
        if passes.compile:
            self.run = compiled(inner)

    def forward(self, x: Tensor) -> Tensor:
        learning = torch.is_grad_enabled()
        for norm in self.norms:
            norm.training = learning
        x = x.to(self.like.device, non_blocking=True)
        if learning and x.requires_grad:
            raise ArgumentError("encoder: expected inputs without a gradient, found some with one")
        if not learning:
            return self.once(x)
        if self.passes.accumulate > 1 or self.passes.precision == "fp16":
            learnt = dict(self.inner.named_parameters())
            # Somebody may have put computed weights in the place of frozen ones for the time of this call.
            lent = {k: b for k, b in self.inner.named_buffers() if b.requires_grad}
            every = learnt | lent
            return cast("Tensor", _InParts.apply(self, x, tuple(every) if lent else (), *every.values()))
        return self.once(x)

    @property
    def like(self) -> Tensor:
        """Some parameter, or where all are frozen some buffer."""
        return next(itertools.chain(self.inner.parameters(), self.inner.buffers()))

    def once(self, x: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Features of these samples by one pass, with these weights in the place of the encoder's own."""
        run = self.run if not weights else partial(functional_call, self.inner, dict(weights))
        if self.passes.channels_last and x.ndim == 4:
            x = x.to(memory_format=torch.channels_last)
        half = HALVES.get(self.passes.precision)
        if half is not None or self.passes.compile:
            for layer in self.closed:  # their closed-form backward knows one dtype, and no compiler knows it
                layer.twice = True
        if half is None:
            return run(x)
        with torch.autocast(x.device.type, half):
            z: Tensor = run(x)
        return z.to(self.like.dtype)

    def parts(self, x: Tensor) -> tuple[Tensor, ...]:
        """The mini-batch in its parts."""
        n = x.shape[self.axes]
        return x.split(math.ceil(n / self.passes.accumulate), self.axes)

    @contextmanager
    def again(self) -> Generator[None, None, None]:
        """A pass that was taken before: batch norms use the same statistics and learn nothing."""
        before = [(norm.training, norm.momentum, norm.num_batches_tracked) for norm in self.norms]
        for norm in self.norms:
            norm.training, norm.momentum, norm.num_batches_tracked = True, 0.0, None
        try:
            with torch.enable_grad():
                yield
        finally:
            for norm, (training, momentum, count) in zip(self.norms, before, strict=True):
                norm.training, norm.momentum, norm.num_batches_tracked = training, momentum, count


def _channels_last(_conv: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What a convolution is given, its channels last: one channel alone looks as if it were, and what comes of it would not be."""
    return tuple(x.to(memory_format=torch.channels_last) if x.ndim == 4 else x for x in given)


class _InParts(torch.autograd.Function):
    """Features of a mini-batch part by part without a graph; the graph of a part is built again where its gradient is asked for."""

    @staticmethod
    def forward(ctx: Any, encoder: Passed, x: Tensor, lent: tuple[str, ...], *parameters: Tensor) -> Tensor:  # noqa: ANN401 (autograd's own signature)
        ctx.encoder, ctx.lent, ctx.parameters = encoder, lent, parameters
        ctx.save_for_backward(x)
        ctx.kept = None
        if encoder.passes.accumulate == 1:  # nothing would be saved by doing it again
            with torch.enable_grad():
                ctx.kept = encoder.once(x)
            return ctx.kept.detach()
        return torch.cat([encoder.once(part) for part in encoder.parts(x)], encoder.axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (the decorator hides the names)
        encoder: Passed = ctx.encoder
        cotangent: Tensor = grad_outputs[0]
        (x,) = ctx.saved_tensors
        if ctx.kept is not None:
            return (None, None, None, *_pulled(encoder, ctx.kept, ctx.parameters, cotangent))
        leaves = tuple(p.detach().requires_grad_() for p in ctx.parameters) if ctx.lent else ctx.parameters
        weights = dict(zip(ctx.lent, leaves, strict=True)) if ctx.lent else None
        total: list[Tensor | None] = [None] * len(leaves)
        for part, g in zip(encoder.parts(x), encoder.parts(cotangent), strict=True):
            with encoder.again():
                z = encoder.once(part, weights)
            for k, more in enumerate(_pulled(encoder, z, leaves, g)):
                old = total[k]
                total[k] = more if old is None else old if more is None else old.add_(more)
        return (None, None, None, *total)


def _pulled(encoder: Passed, z: Tensor, parameters: tuple[Tensor, ...], g: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients of the parameters for a cotangent of the features, in the parameters' own precision."""

    def taken(scaled: Tensor) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(z, parameters, scaled, retain_graph=True, allow_unused=True)

    if encoder.passes.precision != "fp16":
        return taken(g)
    largest = g.abs().amax().float()
    told = (largest > 0) & largest.isfinite()
    power = (HIGHEST - torch.frexp(largest).exponent).clamp(max=FARTHEST)
    scale = torch.where(told, torch.exp2(power.float()), 1.0)
    found = taken(g * scale)
    for _ in range(RETRIES):
        norms = torch.stack([scale, *(f.abs().amax() for f in found if f is not None and f.numel())])
        if bool(norms.isfinite().all() | ~told):  # one look for all of them: the only wait for the device
            break
        scale = scale / 16
        found = taken(g * scale)
    return tuple(None if f is None else f / scale for f in found)
