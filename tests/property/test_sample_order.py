"""No score, weight or coefficient of any method depends on the order in which a batch's samples come."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import METHODS, PMR, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N, CLASSES = 2, 24, 3
OWN_DRAWS = {"opm", "amco", "relearning", "valuation"}
"""Masks, first centres and places are drawn for each sample by its place in the batch."""
NAMES = sorted({*METHODS} - OWN_DRAWS)


def build(draws):
    encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
    head = FUSIONS["sum"](dict.fromkeys("abc", 5), CLASSES, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def data(order):
    draws = Stream(3).draws(range(R))
    y = draws.integers("y", CLASSES, N)
    x = {m: draws.normal(m, N, 4) for m in "abc"}
    for m, loud in {"a": 3.0, "b": 1.0, "c": 0.0}.items():
        x[m][..., :CLASSES] += loud * torch.nn.functional.one_hot(y, CLASSES)
    present = {"b": draws.uniform("here", N) < 0.8}
    return Batch({m: v[:, order] for m, v in x.items()}, y[:, order], {m: h[:, order] for m, h in present.items()})


def trained(method, order):
    """All samples are one batch, so that their order is the only difference."""
    held = data(torch.arange(N))
    config = Settings(epochs=3, batch_size=N, lr=0.05)
    return Trainer(build, method, data(order), settings=config, stream=Stream(1), replicates=range(R), validation=held)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_samples_does_not_matter(name, acting):
    order = torch.randperm(N, generator=torch.Generator().manual_seed(5))
    # PMR draws who its prototypes are made of by place, where that is not everybody.
    start, here, there = (
        trained(PMR(subset=1.0) if name == "pmr" else acting(name), o) for o in (order, torch.arange(N), order)
    )
    start, here, there = start.flat.data, here.run().flat.data, there.run().flat.data
    assert (here - start).abs().max() > 1e-3
    assert (here - there).abs().max() <= 1e-9 * max(1.0, float(here.abs().max()))


def test_one_that_reads_places_is_noticed():
    class First(Joint):
        def losses(self, step):
            found = super().losses(step)
            return {"total": found["total"] * (1 + step.features["a"][..., 0, :1].mean(-1).detach())}

    order = torch.arange(N).flip(0)
    here, there = (trained(First(), o).run().flat.data for o in (torch.arange(N), order))
    assert (here - there).abs().max() > 1e-6
