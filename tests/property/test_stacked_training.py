"""Replicates trained together are the replicates trained alone, for every fusion (for every method: ``test_method_laws``)."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": (6, 8, 5), "b": (4, 8, 5), "c": (3, 5)}


def builder(fusion, dtype):
    def build(draws):
        encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=dtype) for m, w in WIDTHS.items()}
        head = FUSIONS[fusion](dict.fromkeys(WIDTHS, 5), 3, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return build


def samples(replicates, dtype, n=40, seed=7):
    draws = Stream(seed).draws(range(replicates))
    return Batch({m: draws.normal(m, n, w[0]).to(dtype) for m, w in WIDTHS.items()}, draws.integers("y", 3, n))


def one(data, r):
    return Batch({m: v[r] for m, v in data.x.items()}, data.y[r])


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
@pytest.mark.parametrize("name", ["joint", "uniform", "ogm"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_stacked_equals_separate(name, fusion, dtype, tolerance):
    data, held = samples(3, dtype), samples(3, dtype, seed=8)
    settings = Settings(epochs=3, batch_size=16, lr=0.05)
    together = Trainer(
        builder(fusion, dtype),
        METHODS[name](),
        data,
        settings=settings,
        stream=Stream(1),
        replicates=range(3),
        validation=held,
    ).run()
    for r in range(3):
        alone = Trainer(
            builder(fusion, dtype),
            METHODS[name](),
            one(data, r),
            settings=settings,
            stream=Stream(1).child(r),
            validation=one(held, r),
        ).run()
        assert (together.flat.data[r] - alone.flat.data).abs().max() <= tolerance
        assert alone.flat.data.abs().max() > 0
