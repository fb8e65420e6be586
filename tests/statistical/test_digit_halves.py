"""Sohn, Shang and Lee's comparison on real digits: left and right halves as two modalities of one machine, trained in every way.

Scikit-learn's handwritten digits; a linear classifier on the shared layer's probabilities, fitted where both halves are there and tested
where one is missing. Every objective has its learning rate chosen on validation parts of other splits. Intervals are over paired splits,
with their own initialisation, at error probability 1e-6 a test.
"""

from functools import cache

import torch
from sklearn.datasets import load_digits

from mmtheory.batch import Batch
from mmtheory.diagnose import ridge_scores
from mmtheory.methods import Boltzmann
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.stats import student
from mmtheory.training import Settings, Trainer

ALPHA = 1e-6
HALVES, HIDDEN, EPOCHS, RATES = ("left", "right"), 64, 25, (2e-3, 6e-3, 2e-2)
CHOOSING, SPLITS = range(100, 103), range(16)
TRAIN, HELD = 1077, 1437
WAYS = {
    "ml": {"objective": "ml", "steps": 5, "sweeps": 10},
    "percloss": {"objective": "percloss", "steps": 10, "sweeps": 10},
    "subset": {"objective": "subset", "keep": 0.5, "sweeps": 5},
    **{f"mp {n}": {"sweeps": n} for n in (0, 1, 5, 10)},
}


def build(draws):
    encoders = {m: MLPEncoder((32, 1), draws=draws, name=m) for m in HALVES}
    head = FUSIONS["concat"](dict.fromkeys(HALVES, 1), 10, draws=draws)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def parts(splits):
    """Training, validation and test parts of each split, stacked."""
    pixels, y = load_digits(return_X_y=True)
    image, y = torch.tensor(pixels / 16).float().reshape(-1, 8, 8), torch.tensor(y)
    halves = {"left": image[:, :, :4].flatten(1), "right": image[:, :, 4:].flatten(1)}
    order = torch.stack([torch.from_numpy(Stream(0, ("halves", s)).numpy().permutation(len(y))) for s in splits])
    cuts = order[:, :TRAIN], order[:, TRAIN:HELD], order[:, HELD:]
    return [Batch({m: v[rows] for m, v in halves.items()}, y[rows]) for rows in cuts]


@torch.no_grad()
def errors(trainer, train, test):
    """Error in per cent with both halves, the left and the right alone: [splits, 3]."""
    missing = torch.zeros_like(test.y, dtype=torch.bool)

    def shared(batch, present):
        return trainer.method.shared(trainer.model, trainer.auxiliary, Batch(batch.x, batch.y, present))

    cases = [shared(test, present) for present in ({}, {"right": missing}, {"left": missing})]
    scores = ridge_scores(shared(train, {}), train.y, torch.cat(cases, -2), 10)
    wrong = scores.argmax(-1).unflatten(-1, (3, -1)) != test.y[..., None, :]
    return 100 * wrong.double().mean(-1)


def trained(way, splits, lr):
    """A trainer of this objective on each split, and the parts."""
    data = parts(splits)
    settings = Settings(epochs=EPOCHS, batch_size=100, optimiser="adam", lr=lr, weight_decay=1e-4)
    method = Boltzmann(hidden=HIDDEN, **WAYS[way])
    return Trainer(
        build, method, data[0], settings=settings, stream=Stream(1, ("halves",)), replicates=list(splits)
    ).run(), data


@cache
def rate(way):
    """The learning rate whose mean error with one half missing is lowest on validation."""
    splits = [s for s in CHOOSING for _ in RATES]
    trainer, data = trained(way, splits, torch.tensor(RATES * len(CHOOSING)))
    held = errors(trainer, data[0], data[1])[:, 1:].mean(-1).reshape(len(CHOOSING), len(RATES)).mean(0)
    return RATES[int(held.argmin())]


@cache
def outcome(way):
    """Test error of each split: with both halves, and the mean of the two with one missing; [splits, 2]."""
    trainer, data = trained(way, list(SPLITS), rate("mp 5" if way == "mp 10" else way))
    found = errors(trainer, data[0], data[2])
    return torch.stack([found[:, 0], found[:, 1:].mean(-1)], -1)


def gap(worse, better, alpha, case=1):
    """Interval of the mean difference over paired splits."""
    return student(outcome(worse)[:, case] - outcome(better)[:, case], alpha=alpha)


def test_modalities_from_each_other_learn_more_of_a_missing_one_than_likelihood_perceptron_or_subsets():
    """One half missing, multi-prediction errs by points less than every other objective at its own best rate; with both it is no better.

    The paper has the likelihood behind CD-PercLoss too (recalled). That order is one of settings: with one-step chains at a common rate of
    6e-3 the likelihood erred 11.8 points more (95 %: 8.9 to 14.8); with five steps and each its own rate they are equal.
    """
    error = ALPHA / 7
    for other in ("ml", "percloss", "subset"):
        found = gap(other, "mp 5", error)
        assert found.low > 0, (other, found)
        both = gap(other, "mp 5", error, case=0)
        assert -5 < both.low <= both.high < 5, (other, both)
    order = gap("ml", "percloss", error)
    assert -7 < order.low <= order.high < 7, order


def test_what_a_sweep_gains_is_soon_all_that_sweeps_gain():
    """The error with one half missing falls steeply with the first sweep, less with the next four, and no more with five others."""
    error = ALPHA / 3
    first, next_four, last_five = gap("mp 0", "mp 1", error), gap("mp 1", "mp 5", error), gap("mp 5", "mp 10", error)
    assert first.low > 8, first
    assert next_four.low > 0, next_four
    assert first.low > next_four.high, (first, next_four)
    assert -3 < last_five.low <= last_five.high < 3, last_five
