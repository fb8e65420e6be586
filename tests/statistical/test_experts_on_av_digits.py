"""I2M2 on AV-digits: a product of experts, from scratch and after pre-training, against the joint model and the unimodal ensemble.

The published split of the spoken digits; paired initialisations and orders; intervals at error probability 1e-6 a test.
"""

from functools import cache
from pathlib import Path

import pytest

from mmtheory.methods import I2M2, UME, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.stats import student
from mmtheory.training import Settings, Trainer
from real.data import DATASETS
from real.network import standardised

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "fsdd"
ALPHA, SEEDS = 1e-6, range(40)
WAYS = {"inter": Joint, "intra": UME, "scratch": I2M2, "tuned": lambda: I2M2(pretrain=8)}


def build(draws):
    encoders = {m: MLPEncoder((d, 64), draws=draws, name=m) for m, d in (("image", 64), ("audio", 157))}
    head = FUSIONS["concat"](dict.fromkeys(encoders, 64), 10, draws=draws)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


@cache
def parts():
    if not FOLDER.exists():
        pytest.skip(f"{FOLDER} is not there")
    data = DATASETS["av-digits"](FOLDER)
    return standardised(data.load("official", seed=0), data.modalities)


@cache
def accuracy(way):
    train, test = parts().train, parts().test
    config = Settings(epochs=16, batch_size=32, lr=1e-3, optimiser="adam")
    trainer = Trainer(build, WAYS[way](), train, settings=config, stream=Stream(0), replicates=SEEDS).run()
    return (trainer.predict(test).argmax(-1) == test.y).double().mean(-1)


@pytest.mark.parametrize("way", ["scratch", "tuned"])
def test_the_product_is_no_worse_than_the_better_of_inter_and_intra(way):
    for other in ("inter", "intra"):
        assert student(accuracy(way) - accuracy(other), alpha=ALPHA).low > -0.01


def test_all_of_them_are_about_as_good_as_the_floor_of_the_data():
    for way in WAYS:
        assert student(accuracy(way), alpha=ALPHA).low > 0.96
