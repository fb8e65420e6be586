"""What a method's strength amounts to: lengths of gradients after over before, by owner and replicate."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.methods import METHODS, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Scales, Settings, Trainer

NAMES = "abc"


class Times(Joint):
    """Every encoder's gradient times a number of its own, one a replicate."""

    def __init__(self, factors):
        self.factors = factors

    def on_gradients(self, step, gradients):
        for m, factor in self.factors.items():
            gradients.owned("total", m).mul_(factor.unsqueeze(-1))
        return gradients.total()


def build(draws, fusion="concat"):
    encoders = {m: MLPEncoder((4, 5), draws=draws, name=m, dtype=torch.float64) for m in NAMES}
    head = FUSIONS[fusion](dict.fromkeys(NAMES, 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def scaled(method, seed=0, closed=True, fusion="concat"):
    draws = Stream(seed).draws(range(2))
    data = Batch({m: draws.normal(m, 12, 4) for m in NAMES}, draws.integers("y", 3, 12))
    trainer = Trainer(
        partial(build, fusion=fusion), method, data, settings=Settings(epochs=3, batch_size=6), stream=Stream(seed), replicates=range(2),
        validation=data, closed=closed,
    )  # fmt: skip
    trainer.scales = Scales()
    return trainer.run().scales


@settings(max_examples=20)
@given(st.lists(st.floats(1e-6, 100), min_size=6, max_size=6), st.integers(0, 2**32), st.booleans())
def test_a_known_factor_is_found(factors, seed, closed):
    wanted = dict(zip(NAMES, torch.tensor(factors, dtype=torch.float64).view(3, 2), strict=True))
    scales = scaled(Times(wanted), seed, closed)
    found = scales.told()
    for m in NAMES:
        torch.testing.assert_close(found[m], wanted[m], rtol=1e-12, atol=0)
    assert scales.told() == {}


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_every_fusion_is_served(fusion):
    found = scaled(METHODS["ogm"](), fusion=fusion).told()
    assert found.keys() >= set(NAMES)


@pytest.mark.parametrize("name", ["joint", "uniform", "umt", "cml"])
def test_methods_of_losses_leave_gradients_as_they_are(name):
    for owner, scale in scaled(METHODS[name]()).told().items():
        assert torch.equal(scale, torch.ones(2, dtype=torch.float64)), owner


@pytest.mark.parametrize(("name", "longer"), [("ogm", False), ("ogm-ge", True), ("mmpareto", True)])
def test_methods_of_gradients_do_not(name, longer):
    """OGM only ever shortens; noise and MMPareto's γ lengthen."""
    found = torch.stack([v for k, v in scaled(METHODS[name]()).told().items() if k in NAMES])
    assert bool((found > 1).any()) is longer
    assert bool((found != 1).any())


def test_who_rests_does_not_count():
    """MLA hears one modality a pass: the others' passes without a gradient do not halve its number."""
    found = scaled(METHODS["mla"](projection="off")).told()
    assert all(torch.equal(found[m], torch.ones(2, dtype=torch.float64)) for m in NAMES)
