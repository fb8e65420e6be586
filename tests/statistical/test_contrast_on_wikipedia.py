"""Adaptive contrastive learning on real pairs: pictures and texts of Wikipedia articles, found by one another.

The published split; text → picture retrieval among the test articles in the common space, relevant being those of the same of ten
subjects, by mean average precision. Intervals are over paired initialisations and orders, at error probability 1e-6 a test.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch

from mmtheory.methods import MRHP
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.stats import average_precision, student
from mmtheory.training import Settings, Trainer
from real.data import DATASETS
from real.network import standardised

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "wikipedia"
ALPHA, SEEDS = 1e-6, range(16)
WAYS = {
    "off": {"weight": 1e-30},  # codes of a jointly trained model through maps that nothing trains
    "released": {"weight": 16.0},
    "milder": {"weight": 1.0, "sharpness": 16.0},
    "plain": {"weight": 1.0, "contrast": "plain"},
}


def build(draws):
    encoders = {m: MLPEncoder((d, 64), draws=draws, name=m) for m, d in (("image", 128), ("text", 10))}
    head = FUSIONS["concat"](dict.fromkeys(encoders, 64), 10, draws=draws)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


@cache
def measured(way):
    """Mean average precision of text → picture, and accuracy of the subject from both, a number a seed."""
    if not FOLDER.exists():
        pytest.skip(f"{FOLDER} is not there")
    data = DATASETS["wikipedia"](FOLDER)
    parts = standardised(data.load(seed=0), data.modalities)
    trainer = Trainer(
        build, MRHP(layers=0, **WAYS[way]), parts.train, stream=Stream(0), replicates=SEEDS,
        settings=Settings(epochs=15, batch_size=64, lr=1e-3, optimiser="adam"),
    ).run()  # fmt: skip
    test = parts.test
    with torch.no_grad():
        heard = trainer.model.encode({m: v.expand(len(SEEDS), *v.shape) for m, v in test.x.items()})
        codes = trainer.method.codes(trainer.auxiliary, heard)
    alike = test.y[:, None] == test.y
    found = [average_precision(s, alike).mean() for s in codes["text"] @ codes["image"].mT]
    return torch.stack(found), (trainer.predict(test).argmax(-1) == test.y).double().mean(-1)


def ahead(first, second, of=0):
    """The interval of the mean paired difference."""
    return student(measured(first)[of] - measured(second)[of], alpha=ALPHA)


def test_contrast_makes_pictures_findable_by_their_texts():
    assert ahead("released", "off").low > 0.01
    assert ahead("milder", "off").low > 0.03


def test_the_released_sharpness_is_no_better_here_than_a_milder_one_or_plain_cross_entropy():
    assert ahead("milder", "released").low > 0.01
    assert ahead("plain", "released").low > 0


def test_contrast_moves_the_task_by_less_than_five_points():
    for way in ("released", "milder", "plain"):
        difference = ahead(way, "off", of=1)
        assert max(-difference.low, difference.high) < 0.05
