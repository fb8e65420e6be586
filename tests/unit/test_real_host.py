"""Where inputs stay on the host no method mixes them with what is on the device, nor reads from there: torch's meta device tells."""

from __future__ import annotations

import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from mmtheory.rng import Stream
from mmtheory.training import Trainer, placed
from real.data import DATASETS
from real.network import builder, standardised
from real.recipe import Recipe

META = torch.device("meta")
READS = {"pmr": "takes the samples of its prototypes to where they lie", "mmlora": "looks at what it was taught"}
"""Methods that may read from the device, once an epoch."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DATASETS["htad"](DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad")))


@pytest.mark.parametrize("method", sorted(set(METHODS) - READS.keys()))
def test_nothing_is_mixed_and_nothing_is_read(data, method, monkeypatch):
    monkeypatch.setattr("mmtheory.training._loop.check_labels", lambda *_: None)
    parts = standardised(data.load(), data.modalities)

    class There:
        """What Ahead does on a GPU."""

        def batches(self, order, size, *, drop_last=False):
            for start in range(0, parts.train.n, size):
                yield placed(parts.train.rows(slice(start, start + size)), META)

    def trainer(fusion):
        recipe = Recipe(method=method, fusion=fusion, width=6, epochs=2, batch_size=16)
        build = builder(data.modalities, len(data.classes), recipe, parts.train, host=True)
        return Trainer(
            build, recipe.make_method(), parts.train, settings=recipe.settings(), stream=Stream(0),
            validation=parts.validation, device=META, host=True,
        )  # fmt: skip

    try:
        made = trainer("concat")
    except ArgumentError:
        made = trainer("shared")
    made.feed = There()
    made.run(2)
    assert all(v.device.type == "cpu" for v in made.train_data.x.values())
