"""The closed-form pass by a kernel of our own, which this machine's C++ compiler makes once and a folder of the user's keeps."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import math
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters, MLPEncoder, MultimodalModel

from ._passed import Passed

SOURCE = Path(__file__).with_name("_pass.cpp")
FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-std=c++17", "-shared", "-fPIC")
KINDS = {torch.float32: "float", torch.float64: "double"}


def compiler() -> str:
    """The C++ compiler: the one that CXX names, or the platform's own; "" if there is none."""
    named = os.environ.get("CXX")
    return shutil.which(named or ("clang++" if sys.platform == "darwin" else "g++")) or ""


def folder() -> Path:
    """Where kernels are kept: ``mmtheory`` in XDG_CACHE_HOME, or in ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmtheory"


@functools.cache
def kernel() -> ctypes.CDLL:
    """The compiled kernel, made if this source was never compiled here for this processor.

    :raises ArgumentError: no compiler, one that fails, or nowhere to keep what it makes.
    """
    made_by = compiler()
    if not made_by:
        raise ArgumentError(
            "settings: expected a C++ compiler for the compiled kernel, found none; take kernel='torch'"
        )
    # What the compiler tells of itself and of the processor: another machine on the same disk gets a kernel of its own.
    about = _called([made_by, *FLAGS, "-dM", "-E", "-x", "c++", os.devnull])
    key = hashlib.sha256(SOURCE.read_bytes() + about + " ".join(FLAGS).encode()).hexdigest()[:20]
    place = folder() / f"pass-{key}.so"
    if not place.exists():
        _compile(made_by, place)
    try:
        return ctypes.CDLL(str(place))
    except OSError as error:
        raise ArgumentError(f"{place}: expected a kernel that can be loaded, found {error}; delete it") from error


def ready(flat: FlatParameters) -> ctypes.CDLL:
    """The kernel, for these parameters.

    :raises ArgumentError: they are not float32 or float64 on a CPU; what ``kernel`` says.
    """
    if flat.data.dtype not in KINDS or flat.data.device.type != "cpu":
        raise ArgumentError(
            f"settings: expected float32 or float64 on a CPU for the compiled kernel, found {flat.data.dtype} on {flat.data.device}; take kernel='torch'"
        )
    return kernel()


def _compile(made_by: str, place: Path) -> None:
    """Into a file beside, which takes its name when it is whole: several processes may do so at once."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=place.parent, suffix=".so")
        os.close(handle)
    except OSError as error:
        raise ArgumentError(
            f"settings: expected a folder to keep the compiled kernel in, found {place.parent}: {error.strerror}; set XDG_CACHE_HOME"
        ) from error
    try:
        _called([made_by, *FLAGS, str(SOURCE), "-o", beside])
        Path(beside).replace(place)
    finally:
        Path(beside).unlink(missing_ok=True)


def _called(words: list[str]) -> bytes:
    found = subprocess.run(words, capture_output=True, check=False)
    if found.returncode:
        said = found.stderr.decode(errors="replace").strip().split("\n")[0]
        raise ArgumentError(f"settings: expected {words[0]} to compile the kernel, found: {said}; take kernel='torch'")
    return found.stdout


class CompiledPlan:
    """The pass for mini-batches of n samples by one call: one replicate after the other, in caches that a stack does not fit in.

    Losses and gradients are those of ``ClosedForm`` to rounding (sums are taken in another order); a replicate's do not depend on who is
    stacked with it, bit for bit.
    """

    def __init__(self, model: MultimodalModel, flat: FlatParameters, n: int, *, squared: bool) -> None:
        linear, dtype, library = model.fusion.linear(), flat.data.dtype, ready(flat)
        if linear is None:
            raise ArgumentError("the compiled kernel: expected a linear fusion, found another")
        self.batch_shape, self.rows, self.n = flat.batch_shape, math.prod(flat.batch_shape), n
        self.flat, self.modalities = flat, tuple(model.modalities)
        self.dtype, self.label = dtype, dtype if squared else torch.int64
        chains = {m: _chain(model, m) for m in self.modalities}
        columns = {m: w.storage_offset() for m, w in linear.weights.items()}
        biases = [b.storage_offset() for b in linear.biases]
        classes = model.fusion.classes
        head = (len(chains), classes, len(biases), n, int(squared), flat.data.shape[-1])
        depth = (len(chain) for chain in chains.values())
        layers = itertools.chain.from_iterable(itertools.chain.from_iterable(chains.values()))
        self.plan = torch.tensor([*head, *depth, *(columns[m] for m in chains), *biases, *layers])
        numbers = getattr(library, f"numbers_{KINDS[dtype]}")
        numbers.restype = ctypes.c_int64
        scratch = flat.data.new_empty(numbers(_at(self.plan)))
        pointers = torch.empty(2 * len(chains) + sum(map(len, chains.values())), dtype=torch.int64)
        self.gradient = torch.zeros_like(flat.data)
        self.features = {m: flat.data.new_empty(*self.batch_shape, n, chain[-1][1]) for m, chain in chains.items()}
        self.logits = flat.data.new_empty(*self.batch_shape, n, classes)
        self.loss = flat.data.new_empty(self.batch_shape)
        self.run = getattr(library, f"run_{KINDS[dtype]}")
        self.held = (scratch, pointers)  # what the kernel works in must live as long as its addresses
        self.before = (_at(self.plan), ctypes.c_int64(self.rows), _at(scratch), _at(pointers))
        places = (ctypes.c_void_p * len(chains))(*(z.data_ptr() for z in self.features.values()))
        self.behind = (_at(flat.data), _at(self.gradient), places, _at(self.logits), _at(self.loss))

    def __call__(self, batch: Batch) -> Passed:
        x = [self._rows(batch.x[m], self.dtype, 2) for m in self.modalities]
        y = self._rows(batch.y, self.label, 1)
        several = len(x)
        inputs = (ctypes.c_void_p * several)(*(v.data_ptr() for v in x))
        steps = (ctypes.c_int64 * several)(*(v.stride(0) for v in x))
        self.run(*self.before, inputs, steps, _at(y), ctypes.c_int64(y.stride(0)), *self.behind)
        return Passed(dict(self.features), self.logits, self.loss, self.gradient)

    def _rows(self, t: Tensor, dtype: torch.dtype, own: int) -> Tensor:
        """With one replicate axis, behind which the numbers lie side by side."""
        t = t.to(dtype)
        t = t.unsqueeze(0) if not self.batch_shape else t.flatten(0, -own - 1) if len(self.batch_shape) > 1 else t
        return t if t[0].is_contiguous() else t.contiguous()


def _at(t: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(t.data_ptr())


def _chain(model: MultimodalModel, m: str) -> list[tuple[int, int, int, int, int]]:
    """Inputs, outputs, columns of weight and bias, and whether a ReLU follows, of every layer."""
    encoder = model.encoders[m]
    parts = list(encoder.parameters())
    pairs = list(zip(parts[::2], parts[1::2], strict=True))
    last = isinstance(encoder, MLPEncoder) and encoder.activate
    return [
        (w.shape[-2], w.shape[-1], int(w.storage_offset()), int(b.storage_offset()), int(last or i < len(pairs) - 1))
        for i, (w, b) in enumerate(pairs)
    ]
