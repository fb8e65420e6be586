"""How encoders are run never changes what is asked for: parts equal the whole, half precision gives float32 gradients, the host gives the same bytes."""

from __future__ import annotations

import json
import math
import shutil
import sys

import pytest
import torch
from torch import nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from mmtheory.models import Encoder, MLPEncoder
from mmtheory.rng import Stream
from mmtheory.training import gather, train
from real import passes
from real.cli import train as command
from real.data import DATASETS, Part
from real.encoders import Maintained
from real.network import builder, standardised
from real.passes import Passed, Passes
from real.prefetch import Ahead
from real.recipe import Recipe
from real.trainer import Fit

TIMED = {"seconds", "samples_per_second", "memory_mb", "log"}


@pytest.fixture(scope="module")
def htad(tmp_path_factory):
    return DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad"))


def fitted(root, recipe, **more):
    """Trained, with a shared head where the method asks for one."""
    from dataclasses import replace

    try:
        fit = Fit(DATASETS["htad"](root), recipe, 1, **more)
    except ArgumentError:
        fit = Fit(DATASETS["htad"](root), replace(recipe, fusion="shared"), 1, **more)
    return fit.run()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_parts_of_a_mini_batch_are_the_whole_by_every_method(htad, method):
    # From the host, so that both are wrapped: adapters draw their numbers by the names of what they adapt.
    told = {"method": method, "epochs": 1, "batch_size": 16, "width": 6, "dtype": "float64", "inputs": "host"}
    whole, parts = (fitted(htad, Recipe(**told, accumulate=k)) for k in (1, 3))
    assert torch.allclose(whole.trainer.flat.data, parts.trainer.flat.data, rtol=0, atol=1e-11)


class Tall(Encoder):
    """A convolution and a dense layer whose inner numbers half precision can overflow or lose."""

    def __init__(self):
        super().__init__()
        draws = Stream(2).draws()
        self.width, self.shape = 5, (3, 8, 8)
        self.conv = nn.utils.skip_init(nn.Conv2d, 3, 4, 3)
        self.dense = MLPEncoder([4, 5], draws=draws, name="dense")
        with torch.no_grad():
            self.conv.weight.copy_(draws.normal("w", 4, 3, 3, 3) / 5)
            self.conv.bias.zero_()

    def forward(self, x):
        return self.dense(self.conv(x).relu().mean((-2, -1)))


def gradients(encoder, x, weight, rows=1):
    """One gradient a row, as the loop takes them."""
    z = encoder(x)
    assert z.dtype == torch.float32
    target = Stream(4).draws().normal("t", *z.shape).float()
    losses = [weight * ((z - (k + 1) * target) ** 2).mean() for k in range(rows)]
    found = [torch.autograd.grad(loss, list(encoder.parameters()), retain_graph=True) for loss in losses]
    assert all(g.dtype == torch.float32 for row in found for g in row)
    return [torch.cat([g.flatten() for g in row]) for row in found]


def far(a, b):
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e9])
def test_half_precision_gives_unscaled_float32_gradients(precision, accumulate, weight):
    x = Stream(3).draws().normal("x", 10, 3, 8, 8).float()
    exact = gradients(Passed(Tall(), Passes()), x, weight, rows=2)
    half = gradients(Passed(Tall(), Passes(precision, accumulate)), x, weight, rows=2)
    for wanted, found in zip(exact, half, strict=True):
        assert 0 < far(found, wanted) < (0.05 if precision == "bf16" else 0.01)


def test_parts_keep_nothing_but_the_inputs():
    x = Stream(3).draws().normal("x", 12, 3, 8, 8).float()
    kept = {}
    for accumulate in (1, 4):
        encoder, sizes = Passed(Tall(), Passes(accumulate=accumulate)), []

        def pack(t, sizes=sizes):
            sizes.append(t.numel() * t.element_size())
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            encoder(x)
        kept[accumulate] = sum(sizes)
    assert kept[4] == x.numel() * x.element_size() < kept[1]


@pytest.mark.parametrize(("more", "least", "most"), [({"accumulate": 3}, 0, 1e-5), ({"precision": "bf16"}, 1e-6, 0.1)])
def test_replicates_side_by_side_are_run_so_too(htad, more, least, most):
    data = DATASETS["htad"](htad)
    parts = standardised(data.load(), data.modalities)

    def trained(**told):
        recipe = Recipe(epochs=1, width=6, batch_size=16, **told)
        build = builder(data.modalities, len(data.classes), recipe, parts.train)
        return train(build, parts.train, stream=Stream(0), settings=recipe.settings(), replicates=(0, 1)).flat.data

    assert least <= far(trained(**more), trained()) < most


def test_what_is_avoided_is_real():
    """Autocast alone loses a small gradient in fp16 and overflows with a large one."""
    x = Stream(3).draws().normal("x", 10, 3, 8, 8).float()

    class Naive(Encoder):
        def __init__(self):
            super().__init__()
            self.inner = Passed(Tall(), Passes())

        def forward(self, x):
            for layer in self.inner.closed:
                layer.twice = True
            with torch.autocast("cpu", torch.float16):
                return self.inner.inner(x).float()

    assert not gradients(Naive(), x, 1e-9)[0][:-25].any()
    assert not gradients(Naive(), x, 1e9)[0].isfinite().all()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_and_resumes(htad, precision, tmp_path):
    recipe = Recipe(method="mmpareto", epochs=2, width=8, batch_size=16, precision=precision)
    whole, part = (fitted(htad, recipe, folder=tmp_path / f) for f in "ab")
    assert (tmp_path / "a/checkpoint.safetensors").read_bytes() == (tmp_path / "b/checkpoint.safetensors").read_bytes()
    full = fitted(htad, Recipe(method="mmpareto", epochs=2, width=8, batch_size=16))
    assert 0 < far(part.trainer.flat.data, full.trainer.flat.data) < 0.1
    assert whole.trainer.flat.data.dtype == torch.float32


def test_half_precision_of_a_double_run_is_refused():
    with pytest.raises(ArgumentError, match="half precision with dtype float32"):
        Recipe(precision="bf16", dtype="float64")


def test_batch_norms_see_a_part_once():
    part = Part((3, 16, 16), "image")
    x = Stream(3).draws().normal("x", 9, 3, 16, 16).double()
    encoders = [Maintained("resnet:tiny", part, 4, draws=Stream(0).draws(), modality="m", dtype=torch.float64) for _ in range(2)]  # fmt: skip
    parts, by_hand = Passed(encoders[0], Passes(accumulate=3)), Passed(encoders[1], Passes())
    target = Stream(4).draws().normal("t", 9, 4)
    found = torch.autograd.grad(((parts(x) - target) ** 2).sum(), list(parts.parameters()))
    wanted = [torch.zeros_like(p) for p in by_hand.parameters()]
    for k in range(0, 9, 3):
        loss = ((by_hand(x[k : k + 3]) - target[k : k + 3]) ** 2).sum()
        for total, g in zip(wanted, torch.autograd.grad(loss, list(by_hand.parameters())), strict=True):
            total += g
    assert all(torch.allclose(f, w, atol=1e-10) for f, w in zip(found, wanted, strict=True))
    theirs = dict(by_hand.named_buffers())
    assert all(torch.equal(v, theirs[k]) for k, v in parts.named_buffers())
    assert {int(v) for k, v in theirs.items() if k.endswith("tracked")} == {3}


def test_pictures_lie_with_their_channels_last():
    seen = []

    class Look(Encoder):
        def __init__(self):
            super().__init__()
            self.inner, self.width, self.shape = Tall(), 5, (3, 8, 8)

        def forward(self, x):
            seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return self.inner(x)

    x = Stream(3).draws().normal("x", 10, 3, 8, 8).float()
    last, usual = Passed(Look(), Passes(channels_last=True)), Passed(Look(), Passes())
    assert torch.allclose(last(x), usual(x), atol=1e-6)
    assert seen == [True, False]


def test_one_channel_alone_does_not_turn_a_network_back():
    def laid(**more):
        seen = []
        inner = Maintained("resnet:tiny", Part((1, 16, 16), "spectrogram"), 4, draws=Stream(0).draws(), modality="m")
        for module in inner.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(
                    lambda _m, _x, z: seen.append(z.is_contiguous(memory_format=torch.channels_last))
                )
        found = Passed(inner, Passes(**more))(Stream(3).draws().normal("x", 9, 1, 16, 16).float())
        return all(seen), any(seen), found

    last, usual = laid(channels_last=True), laid()
    assert last[0]
    assert not usual[1]
    assert torch.allclose(last[2], usual[2], atol=1e-5)


def test_a_tiny_or_absent_cotangent_is_no_special_case():
    x = Stream(3).draws().normal("x", 10, 3, 8, 8).float()
    for weight in (0.0, 1e-37, math.inf):
        found = gradients(Passed(Tall(), Passes("fp16")), x, weight)[0]
        assert bool(found.isfinite().all()) == math.isfinite(weight)
        assert bool(found.any()) == (weight > 0)


def test_compiled_encoders_compute_the_same(htad, monkeypatch):
    monkeypatch.setattr(passes, "BACKEND", "eager")
    told = {"epochs": 1, "width": 6, "batch_size": 16}
    plain, compiled = fitted(htad, Recipe(**told)), fitted(htad, Recipe(**told, compile=True))
    assert torch.allclose(plain.trainer.flat.data, compiled.trainer.flat.data, atol=1e-6)
    assert isinstance(compiled.trainer.model.encoders["audio"], Passed)
    assert not compiled.notes


@pytest.mark.skipif(bool(passes.no_compiler("cpu")), reason="needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler imports torch's own old parts
@pytest.mark.filterwarnings("ignore:Skipping serialization")  # which torch 2.6 says of its own settings
def test_what_inductor_compiles_gives_the_gradient_of_every_loss():
    x = Stream(3).draws().normal("x", 10, 3, 8, 8).float()
    plain = gradients(Passed(Tall(), Passes()), x, 1.0, rows=2)
    for more in ({}, {"accumulate": 2}):
        found = gradients(Passed(Tall(), Passes(compile=True, **more)), x, 1.0, rows=2)
        assert all(far(f, p) < 1e-5 for f, p in zip(found, plain, strict=True))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_encoders_of_one_class_are_all_compiled(monkeypatch):
    made = []

    def count(graph, _inputs):
        made.append(graph)
        return graph.forward

    monkeypatch.setattr(passes, "BACKEND", count)
    x = torch.zeros(4, 3, 8, 8)
    for _ in range(6):
        encoder = Passed(Tall(), Passes(compile=True))
        encoder(x)
        with torch.no_grad():
            encoder(x)
    assert len(made) == 12, "the compiler keeps eight variants of one code"


def test_without_a_compiler_it_is_said_why(htad, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    words = ["htad", "--root", str(htad), "--epochs", "1", "--compile", "--out", str(tmp_path / "r"), "--json"]
    assert command(words) == 0
    said = capsys.readouterr()
    assert passes.no_compiler("cuda") in {"no C compiler", "no triton for CUDA"}
    assert "compile: encoders are not compiled, found no C++ compiler" in said.err
    assert json.loads(said.out)["notes"] == ["compile: encoders are not compiled, found no C++ compiler"]


def test_inputs_from_the_host_give_the_same_bytes(htad, tmp_path):
    told = {"method": "pmr", "epochs": 2, "width": 6, "batch_size": 16}
    fits = [fitted(htad, Recipe(**told, inputs=where), folder=tmp_path / where) for where in ("device", "host")]
    assert isinstance(fits[1].trainer.feed, Ahead)
    ours, theirs = (fit.packed() for fit in fits)
    assert ours == theirs
    measured = [{k: v for k, v in fit.measure().items() if k not in TIMED} for fit in fits]
    assert measured[0] == measured[1]
    resumed = Fit(DATASETS["htad"](htad), Recipe(**told, inputs="device"), 1, folder=tmp_path / "host").resume()
    assert resumed.trainer.epoch == 2, "where inputs lie is no part of the question"


@pytest.mark.parametrize("drop_last", [False, True])
def test_what_comes_ahead_is_what_was_ordered(drop_last):
    draws = Stream(0).draws()
    data = Batch({"a": draws.normal("a", 11, 2), "b": draws.integers("b", 9, 11, 3)}, draws.integers("y", 3, 11), {"a": draws.signs("p", 11) > 0})  # fmt: skip
    order = torch.arange(10, -1, -1)
    found = list(Ahead(data, "cpu").batches(order, 4, drop_last=drop_last))
    assert [b.n for b in found] == ([4, 4] if drop_last else [4, 4, 3])
    for k, batch in enumerate(found):
        wanted = gather(data, order[4 * k : 4 * k + 4])
        assert torch.equal(batch.y, wanted.y)
        assert torch.equal(batch.present["a"], wanted.present["a"])
        assert all(torch.equal(batch.x[m], wanted.x[m]) for m in "ab")
    with pytest.raises(IndexError):
        list(Ahead(data, "cpu").batches(torch.tensor([0, 1, 99]), 2))


def test_tensorboard_is_told_every_epoch(htad, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    recipe = Recipe(epochs=2, width=6, batch_size=16, tensorboard=True)
    fit = fitted(htad, recipe, folder=tmp_path)
    rest = Fit(DATASETS["htad"](htad), recipe, 1, folder=tmp_path).resume()
    assert rest.trainer.epoch == 2
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    for name in ("validation_accuracy", "validation_nll", "samples_per_second", "memory_mb"):
        told = events.Scalars(name)
        assert [e.step for e in told] == [1, 2]
        assert [e.value for e in told] == pytest.approx([line[name] for line in fit.log], rel=1e-6)


def test_without_tensorboard_it_is_said_how_to_get_it(htad, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ArgumentError, match=r"pip install 'mmtheory\[tensorboard\]'"):
        command(["htad", "--root", str(htad), "--epochs", "1", "--tensorboard", "--out", str(tmp_path / "r")])
