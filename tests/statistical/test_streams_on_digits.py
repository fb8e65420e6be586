"""UmURL on three views of real digits: one stream without labels, what a linear probe reads off it, and its collapse without the regulariser.

Scikit-learn's digits: pixels, their differences across and down, as joints, bones and motion are three views of one skeleton. Paired
initialisations and orders; intervals at error probability 1e-6 a test.
"""

from functools import cache

import torch
from sklearn.datasets import load_digits

from mmtheory.batch import Batch
from mmtheory.methods import UmURL
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.stats import student
from mmtheory.training import Settings, Trainer

ALPHA, SEEDS, SEEN = 1e-6, range(20), 1200
VIEWS = ("pixel", "across", "down")


@cache
def parts():
    raw = load_digits()
    order = torch.from_numpy(Stream(3).numpy().permutation(len(raw.target)))
    images, y = torch.tensor(raw.images / 16 - 0.3, dtype=torch.float32)[order], torch.tensor(raw.target)[order]
    views = (images, images.diff(dim=2), images.diff(dim=1))
    whole = Batch(
        {m: v.flatten(1).expand(len(SEEDS), -1, -1) for m, v in zip(VIEWS, views, strict=True)},
        y.expand(len(SEEDS), -1),
    )
    return whole.rows(slice(0, SEEN)), whole.rows(slice(SEEN, None))


def build(draws):
    encoders = {m: MLPEncoder((v.shape[-1], 64), draws=draws, name=m) for m, v in parts()[0].x.items()}
    head = FUSIONS["concat"](dict.fromkeys(encoders, 64), 10, draws=draws)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


@cache
def trained(*, regularised):
    method = UmURL() if regularised else UmURL(variance=0.0, covariance=0.0)
    config = Settings(epochs=20, batch_size=128, lr=3e-3, optimiser="adam")
    return Trainer(build, method, parts()[0], settings=config, stream=Stream(0), replicates=SEEDS).run()


@cache
def probed(*heard, regularised=True):
    """Accuracy of the stream's probe when these views alone are there, a number a seed."""
    test = parts()[1]
    there = {m: torch.full_like(test.y, m in heard, dtype=torch.bool) for m in VIEWS}
    answer = trained(regularised=regularised).predict(Batch(test.x, test.y, there)).argmax(-1)
    return (answer == test.y).double().mean(-1)


@torch.no_grad()
def spread(trainer):
    """Mean standard deviation of the fused code's dimensions over test samples, a number a seed."""
    parts_of = trainer.auxiliary
    embedded = [parts_of[f"embed:{m}"](z) for m, z in trainer.model.encode(parts()[1].x).items()]
    fused = parts_of["stream:shared"](torch.stack(embedded).mean(0)).relu()
    return parts_of["project:pixel"](fused).std(-2).mean(-1)


def test_the_fused_stream_loses_nothing_to_the_best_view():
    for view in VIEWS:
        assert student(probed(*VIEWS) - probed(view), alpha=ALPHA).low > -0.03
    assert student(probed(*VIEWS), alpha=ALPHA).low > 0.65


def test_without_the_regulariser_the_stream_collapses_and_nothing_can_be_read_off_it():
    assert spread(trained(regularised=True)).min() > 0.5
    assert spread(trained(regularised=False)).max() < 0.01
    assert student(probed(*VIEWS) - probed(*VIEWS, regularised=False), alpha=ALPHA).low > 0.5
