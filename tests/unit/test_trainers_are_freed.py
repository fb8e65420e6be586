"""A trainer that nobody holds any more is gone at once, with what it holds on a device: no cycle keeps it until garbage is collected."""

import gc
import weakref
from contextlib import contextmanager

import pytest

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer, counted_cost
from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit


def build(draws):
    encoders = {m: MLPEncoder((6, 5), draws=draws, name=m) for m in "ab"}
    return MultimodalModel(
        encoders, FUSIONS["concat"](dict.fromkeys("ab", 5), 3, draws=draws), batch_shape=draws.batch_shape
    )


@contextmanager
def uncollected():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_trainer(name):
    draws = Stream(7).draws()
    data = Batch({m: draws.normal(m, 24, 6).float() for m in "ab"}, draws.integers("y", 3, 24))
    with uncollected():
        trainer = Trainer(
            build, METHODS[name](), data, settings=Settings(batch_size=12, epochs=2), stream=Stream(0), validation=data,
            replicates=range(2),
        )  # fmt: skip
        counted_cost(trainer)
        held = [weakref.ref(part) for part in (trainer.run(), trainer.flat, trainer.model)]
        del trainer
        assert [part() for part in held] == [None, None, None]


def test_a_fit():
    with uncollected():
        fit = Fit(DATASETS["htad"](), Recipe(epochs=1, method="umt")).run()
        fit.measure()
        held = [weakref.ref(part) for part in (fit, fit.trainer, fit.trainer.flat)]
        del fit
        assert [part() for part in held] == [None, None, None]


def test_a_cycle_is_seen():
    class Tied:
        def __init__(self):
            self.own = self.method

        def method(self):
            pass

    with uncollected():
        tied = weakref.ref(Tied())
        assert tied() is not None
    gc.collect()
    assert tied() is None
