"""The recorded pass: what is recorded and launched again ends where torch's own passes end. Recording itself needs a GPU; the rest is tried without."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer, _closed
from mmtheory.training._graphed import WARM, GraphedPlan

WIDTHS = {"a": (6, 20, 9), "b": (3, 9)}


def build(draws):
    encoders = {m: MLPEncoder(w, draws=draws, name=m) for m, w in WIDTHS.items()}
    return MultimodalModel(encoders, FUSIONS["concat"](dict.fromkeys("ab", 9), 4, draws=draws))


def trainer(kernel, name="joint", n=37, size=16, replicates=3, device="cpu"):
    draws = Stream(5).draws(None if replicates is None else range(replicates))
    data = Batch({m: draws.normal(m, n, w[0]).float() for m, w in WIDTHS.items()}, draws.integers("y", 4, n))
    how = Settings(epochs=3, batch_size=size, lr=0.05, kernel=kernel)
    rows = None if replicates is None else range(replicates)
    return Trainer(build, METHODS[name](), data, settings=how, stream=Stream(0), replicates=rows, device=device)


class Tape:
    """Records as a graph does: runs the work over the places it was shown, and leaves all results where the first ones lay."""

    def __init__(self):
        self.recorded = self.launched = 0

    def __call__(self, work):
        for _ in range(WARM):
            work()
        passed = work()
        self.recorded += 1

        def launch():
            self.launched += 1
            passed.loss.copy_(work().loss)

        return launch, passed


@pytest.fixture
def tape(monkeypatch):
    tape = Tape()
    monkeypatch.setattr(_closed, "on_gpu", lambda flat: None)
    monkeypatch.setattr(_closed, "GraphedPlan", partial(GraphedPlan, record=tape))
    return tape


@pytest.mark.parametrize("name", ["joint", "ogm", "opm", "cml"])
@pytest.mark.parametrize("replicates", [None, 3])
def test_launches_end_where_passes_end(name, replicates, tape):
    """Full mini-batches and the last, smaller one have a recording each, launched again in every epoch."""
    assert (
        trainer("graph", name, replicates=replicates)
        .run()
        .flat.data.equal(trainer("torch", name, replicates=replicates).run().flat.data)
    )
    if tape.recorded:  # the method's passes are plain ones
        assert (tape.recorded, tape.launched) == (2, 9)
    assert bool(tape.recorded) == (trainer("torch", name).closed is not None)


@settings(max_examples=20)
@given(n=st.integers(1, 40), size=st.integers(1, 40))
def test_any_sizes(n, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_closed, "on_gpu", lambda flat: None)
        patch.setattr(_closed, "GraphedPlan", partial(GraphedPlan, record=Tape()))
        ours = trainer("graph", n=n, size=size).run()
    assert ours.flat.data.equal(trainer("torch", n=n, size=size).run().flat.data)


def test_a_launch_without_the_mini_batchs_copy_is_noticed(tape, monkeypatch):
    monkeypatch.setattr(GraphedPlan, "__call__", lambda self, batch: (self.replay(), self.passed)[1])
    assert not trainer("graph").run().flat.data.equal(trainer("torch").run().flat.data)


def test_elsewhere_than_on_a_gpu_it_is_refused():
    with pytest.raises(
        ArgumentError, match=r"expected a CUDA device for the graph kernel, found cpu; take kernel='torch'"
    ):
        trainer("graph")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("replicates", [None, 3])
def test_a_graph_gives_the_bits_of_torchs_passes_on_a_gpu(replicates):
    ours, theirs = (trainer(k, replicates=replicates, device="cuda").run() for k in ("graph", "torch"))
    assert ours.flat.data.equal(theirs.flat.data)
