"""The compiled kernel's pass against the plan of torch's products: values for any shapes, replicates apart, NaN, who is refused."""

import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, OGM, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer, _compiled

pytestmark = pytest.mark.skipif(not _compiled.compiler(), reason="needs a C++ compiler")
TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


@st.composite
def networks(draw):
    """Widths of each encoder, activated or not at its end, classes, and the fusion."""
    many = draw(st.integers(1, 4))
    width = st.integers(1, 40)
    chains = {f"m{k}": [draw(width) for _ in range(draw(st.integers(2, 4)))] for k in range(many)}
    fusion = draw(st.sampled_from(["concat", "sum"]))
    return chains, draw(st.booleans()), draw(st.integers(2, 40)), fusion


def trainer(network, kernel, *, dtype=torch.float32, replicates=3, n=37, seed=0, method=None, numbers=False, **how):
    chains, activate, classes, fusion = network
    classes = 1 if numbers else classes

    def build(draws):
        encoders = {m: MLPEncoder(w, draws=draws, name=m, activate=activate, dtype=dtype) for m, w in chains.items()}
        head = FUSIONS[fusion]({m: w[-1] for m, w in chains.items()}, classes, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(seed, ("data",)).draws(None if replicates is None else range(replicates))
    x = {m: draws.normal(m, n, w[0]).to(dtype) for m, w in chains.items()}
    y = draws.normal("y", n).to(dtype) if numbers else draws.integers("y", classes, n)
    how = {"epochs": 2, "batch_size": 16, "lr": 0.05, "loss": "squared" if numbers else "cross-entropy", **how}
    return Trainer(
        build, method or Joint(), Batch(x, y), settings=Settings(kernel=kernel, **how), stream=Stream(seed),
        replicates=None if replicates is None else range(replicates),
    )  # fmt: skip


@given(
    networks(), st.sampled_from([torch.float32, torch.float64]), st.sampled_from([None, 1, 3]),
    st.integers(1, 37), st.booleans(), st.integers(0, 2**31),
)  # fmt: skip
@settings(max_examples=40)
def test_loss_features_logits_and_every_gradient_are_those_of_the_other_kernel(
    network, dtype, replicates, n, numbers, seed
):
    """One pass, of a mini-batch of any size; relative to the largest number of its kind."""
    one, other = (
        trainer(network, kernel, dtype=dtype, replicates=replicates, n=n, seed=seed, numbers=numbers)
        for kernel in ("torch", "compiled")
    )
    a, b = one.closed(one.train_data), other.closed(other.train_data)
    near = TOLERANCE[dtype]
    for x, y in ((a.loss, b.loss), (a.logits, b.logits), (a.gradient, b.gradient), *zip(a.features.values(), b.features.values(), strict=True)):  # fmt: skip
        assert x.shape == y.shape
        assert float((x - y).abs().max()) <= near * (1 + float(x.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["joint", "ogm", "ogm-ge"])
def test_trainings_end_where_the_other_kernels_end(name, dtype):
    network = ({"a": [6, 20, 5], "b": [4, 33]}, True, 3, "concat")
    one, other = (
        trainer(network, kernel, dtype=dtype, method=METHODS[name](), epochs=5).run()
        for kernel in ("torch", "compiled")
    )
    assert other.closed is not None
    assert not torch.equal(other.flat.data, trainer(network, "torch", dtype=dtype).flat.data)
    torch.testing.assert_close(other.flat.data, one.flat.data, rtol=0, atol=20 * TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_replicate_alone_has_the_bits_that_it_has_in_a_stack(dtype):
    network = ({"a": [6, 20, 5], "b": [4, 5], "c": [3, 18]}, True, 3, "sum")
    stack = trainer(network, "compiled", dtype=dtype, replicates=4).run()
    few = trainer(network, "compiled", dtype=dtype, replicates=2).run()
    assert torch.equal(stack.flat.data[:2], few.flat.data)


def test_a_fallen_replicate_is_told_and_the_others_never_notice():
    network = ({"a": [6, 20, 5], "b": [4, 5]}, True, 3, "concat")
    whole, found = (trainer(network, "compiled", replicates=4) for _ in range(2))
    found.train_data.x["a"][2, 17] = math.nan
    whole.run()
    found.run()
    assert found.stopped == {2: 0}
    assert torch.equal(found.flat.data[[0, 1, 3]], whole.flat.data[[0, 1, 3]])


def test_one_data_set_for_all_replicates_and_a_resumed_run():
    network = ({"a": [6, 20, 5], "b": [4, 5]}, False, 3, "concat")
    plain = trainer(network, "compiled", replicates=None)

    def shared(kernel):
        settings = Settings(epochs=4, batch_size=16, lr=0.05, kernel=kernel)
        return Trainer(plain.build, OGM(), plain.train_data, settings=settings, stream=Stream(3), replicates=range(3))

    reference, whole, half, rest = shared("torch").run(), shared("compiled").run(), shared("compiled").run(2), shared("compiled")  # fmt: skip
    rest.load_state_dict(half.state_dict())
    assert torch.equal(rest.run().flat.data, whole.flat.data)
    torch.testing.assert_close(whole.flat.data, reference.flat.data, rtol=0, atol=1e-4)


def test_what_it_cannot_serve_is_refused_in_a_sentence(monkeypatch):
    network = ({"a": [6, 5]}, True, 3, "concat")
    with pytest.raises(ArgumentError, match="expected a kernel among torch, compiled, graph, found 'fast'"):
        Settings(kernel="fast")
    with pytest.raises(ArgumentError, match=r"expected float32 or float64 on a CPU .* found torch.float16"):
        trainer(network, "compiled", dtype=torch.float16)
    for named, words in (("/nowhere/c++", "expected a C\\+\\+ compiler .* found none"), ("false", "to compile the kernel, found")):  # fmt: skip
        _compiled.kernel.cache_clear()
        monkeypatch.setenv("CXX", named)
        with pytest.raises(ArgumentError, match=words + ".*take kernel='torch'"):
            trainer(network, "compiled")
    _compiled.kernel.cache_clear()


def test_processes_that_compile_at_once_and_a_file_that_was_cut(tmp_path, monkeypatch):
    """Each of them finds a whole kernel; one that cannot be loaded is named."""
    words = "from mmtheory.training import _compiled as c; print(c.kernel() is not None)"
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}

    def call(_):
        return subprocess.run([sys.executable, "-c", words], env=environment, capture_output=True, text=True, check=False)  # fmt: skip

    with ThreadPoolExecutor(2) as pool:
        assert [r.stdout.strip() for r in pool.map(call, range(2))] == ["True", "True"]
    (kept,) = (tmp_path / "mmtheory").iterdir()
    kept.write_bytes(b"cut")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    _compiled.kernel.cache_clear()
    with pytest.raises(ArgumentError, match=r"expected a kernel that can be loaded, found .*; delete it"):
        _compiled.kernel()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ArgumentError, match="expected a folder to keep the compiled kernel in"):
        _compiled.kernel()
    _compiled.kernel.cache_clear()
    assert Path(_compiled.SOURCE).exists()
