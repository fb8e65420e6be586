"""Two identical modalities stay identical: no rule decides by position, ties included."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import METHODS
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N = 2, 24
ALTERNATING = {"mla", "mie", "reconboost"}
OWN_DRAWS = {
    "opm",
    "ogm-ge",
    "amss",
    "amss-plus",
    "amco",
    "relearning",
    "valuation",
    "graddrop",
    "mmlora",
    "m2pt",
    "mrhp",
}
"""Masks, noise, adapters, prompts, interaction layers and cluster centres are drawn for each modality by its name."""
OWN_TEACHERS = {"umt"}
"""Teachers start from the initialisation, in which these two are not yet twins."""


def twins(method):
    """A trainer in which b and c are one modality twice: the same data, the same parameters."""

    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS["sum"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    def split(k):
        draws = Stream(3).child(k).draws(range(R))
        a, b = draws.normal("a", N, 4), draws.normal("b", N, 4)
        return Batch({"a": a, "b": b, "c": b.clone()}, draws.integers("y", 3, N))

    config = Settings(epochs=3, batch_size=8, lr=0.05)
    t = Trainer(
        build, method, split("train"), settings=config, stream=Stream(1), replicates=range(R), validation=split("held")
    )
    for owner, columns in t.flat.columns.items():
        if owner == "b" or owner.endswith(":b"):
            other = owner[:-1] + "c"
            t.flat.data[..., t.flat.columns[other]] = t.flat.data[..., columns]
    return t


@pytest.mark.parametrize("name", sorted(set(METHODS) - ALTERNATING - OWN_DRAWS - OWN_TEACHERS))
def test_twins_stay_twins(name, acting):
    t = twins(acting(name)).run()
    b, c = (t.flat.data[..., t.flat.columns[m]] for m in "bc")
    assert (b - c).abs().max() <= 1e-12
    assert (b - t.flat.data[..., t.flat.columns["a"]]).abs().max() > 1e-3
