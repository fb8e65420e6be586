"""The audio-visual ResNet-18 pair at 224² on a GPU: bf16 in the trainer against the plain fp32 loop with the same loader."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from real.data import Dataset, Index, Part
from real.prefetch import Ahead
from real.recipe import Recipe
from real.trainer import Fit

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DEVICE = "cuda"
N, BATCH, CLASSES, WARM, STEPS = 4096, 256, 6, 4, 24


class Pair(Dataset):
    """Pictures and spectrograms of noise, on the host."""

    name, title, licence, source, needs_root = "pair", "pair", "none", "generated", False
    classes = tuple(map(str, range(CLASSES)))
    modalities: Mapping[str, Part] = MappingProxyType({
        "audio": Part((1, 257, 188), "spectrogram", "float16"),
        "image": Part((3, 224, 224), "image", "uint8"),
    })  # fmt: skip

    def read_index(self):
        return Index(tuple(map(str, range(N))), torch.arange(N) % CLASSES)

    def read(self, rows):
        raise AssertionError(rows)

    @cached_property
    def whole(self):
        generator = torch.Generator().manual_seed(0)
        return {
            "audio": torch.randn(N, 1, 257, 188, generator=generator, dtype=torch.float32).half(),
            "image": torch.randint(256, (N, 3, 224, 224), generator=generator, dtype=torch.uint8),
        }

    @classmethod
    def write_double(cls, root):
        raise AssertionError(root)


def fitted(precision, data):
    recipe = Recipe(
        encoder="resnet", width=0, epochs=2, batch_size=BATCH, optimiser="sgd", lr=1e-3, weight_decay=1e-4, inputs="host",
        precision=precision, channels_last=precision != "float32", drop_last=True,
    )  # fmt: skip
    return Fit(data, recipe, device=DEVICE)


def ceiling():
    """Multiplications and additions a second of a large bf16 product."""
    a = torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16)
    for _ in range(3):
        a @ a
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(20):
        a @ a
    torch.cuda.synchronize()
    return 20 * 2 * 8192**3 / (time.perf_counter() - start)


def bare(fit):
    """Samples a second of plain PyTorch: the same network, the same loader, torch's own SGD."""
    model = fit.trainer.model
    parameters = [torch.nn.Parameter(p.detach().clone()) for p in model.parameters()]
    for p, own in zip(model.parameters(), parameters, strict=True):
        p.data = own.data
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    order = torch.arange(fit.parts.train.n).repeat(9)
    for count, batch in enumerate(Ahead(fit.parts.train, DEVICE).batches(order, BATCH)):
        if count == WARM:
            torch.cuda.synchronize()
            start = time.perf_counter()
        if count == WARM + STEPS:
            break
        loss = torch.nn.functional.cross_entropy(model(batch.x).logits, batch.y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    torch.cuda.synchronize()
    return STEPS * BATCH / (time.perf_counter() - start)


def ours(fit, steps):
    """Seconds of so many steps of the trainer, by epochs over as many samples."""
    order = torch.arange(fit.parts.train.n).repeat(9)[: steps * BATCH]
    start = time.perf_counter()
    for index, batch in enumerate(fit.trainer.feed.batches(order, BATCH)):
        for number, phase in enumerate(fit.trainer.method.phases(0, index)):
            fit.trainer._pass(batch, phase, index, number)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def busy(fit):
    """Share of the time in which some kernel runs."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        ours(fit, STEPS)
    spans = sorted(
        (e.time_range.start, e.time_range.end) for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA and e.time_range.end > e.time_range.start
    )  # fmt: skip
    covered, end = 0.0, spans[0][0]
    for a, b in spans:
        covered += max(0.0, b - max(a, end))
        end = max(end, b)
    return covered / (end - spans[0][0])


def test_the_pair_in_bf16():
    data = Pair()
    plain = bare(fitted("float32", data))
    fit = fitted("bf16", data)
    ours(fit, WARM)
    with FlopCounterMode(display=False) as counter:
        ours(fit, 1)
    speed = STEPS * BATCH / ours(fit, STEPS)
    share = counter.get_total_flops() / BATCH * speed / ceiling()
    occupied = busy(fit)
    print(
        f"{torch.cuda.get_device_name()}: {speed:.0f} samples/s in bf16, {speed / plain:.2f} times the plain fp32 loop "
        f"({plain:.0f}), {100 * share:.0f} % of the bf16 matmul ceiling, GPU busy {100 * occupied:.1f} %"
    )
    assert speed >= 3 * plain or share >= 0.4
    assert occupied >= 0.95
