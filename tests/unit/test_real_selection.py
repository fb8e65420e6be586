"""Selection on validation: by hand the same, classifier by classifier, and no longer than anybody is left."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmtheory.diagnose import hits
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS
from mmtheory.rng import Stream
from mmtheory.training import Trainer
from real.data import DATASETS
from real.network import builder, standardised
from real.recipe import Recipe
from real.selection import Best, alone, rows_at_once, watched

EPOCHS = 5


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return DATASETS["htad"](DATASETS["htad"].write_double(tmp_path_factory.mktemp("htad")))


def made(data, method, lr=0.02, replicates=(0, 1, 2)):
    recipe = Recipe(method=method, width=6, batch_size=16)
    parts = standardised(data.load(), data.modalities)
    build = builder(data.modalities, len(data.classes), recipe, parts.train)
    return parts, Trainer(
        build, METHODS[method](), parts.train, settings=replace(recipe.settings(), lr=lr), stream=Stream(0), replicates=replicates,
        validation=parts.validation,
    )  # fmt: skip


@pytest.mark.parametrize("replicates", [None, (0, 1, 2)])
def test_every_prediction_is_taken_where_it_was_best_on_validation(data, replicates):
    parts, trainer = made(data, "unimodal", replicates=replicates)
    seen = watched(lambda: trainer.run(1), trainer, parts, epochs=EPOCHS, size=7)
    assert list(seen.best) == ["", *sorted(data.modalities)]
    _, again = made(data, "unimodal", replicates=replicates)
    held, test = {k: [] for k in seen.best}, {k: [] for k in seen.best}
    for _ in range(EPOCHS):
        again.run(1)
        for part, kept in ((parts.validation, held), (parts.test, test)):
            said = {"": again.predict(part), **alone(again, again.method, part, 4096)}
            for k, z in said.items():
                kept[k].append(z.reshape(-1, *z.shape[-2:]))
    for k, best in seen.best.items():
        scores = torch.stack([hits(z, parts.validation.y.expand(z.shape[:-1])).mean(-1) for z in held[k]])
        epoch = scores.argmax(0)  # the first among equals
        assert best.epoch.tolist() == (epoch + 1).tolist()
        assert torch.equal(best.score, scores.max(0).values)
        for r, e in enumerate(epoch.tolist()):
            assert torch.allclose(best.logits[r], test[k][e][r], atol=1e-5)
    assert len({tuple(b.epoch.tolist()) for b in seen.best.values()}) > 1, "each classifier has its own epoch"
    assert (seen.cost.forwards, seen.cost.backwards) == (1.0, 1.0)


def test_nobody_left_is_an_end_and_one_left_goes_on(data):
    for lr, steps in ((1e30, 1), (torch.tensor([1e30, 0.02, 0.02]), EPOCHS)):
        parts, trainer = made(data, "joint", lr)
        taken = []
        seen = watched(lambda: taken.append(trainer.run(1)), trainer, parts, epochs=EPOCHS, size=4096)  # noqa: B023
        assert len(taken) == steps
        found = seen.best[""]
        assert found.score[0] == -1
        assert bool((found.score[1:] >= 0).all()) == (steps == EPOCHS)
    with pytest.raises(ArgumentError, match="who: expected a finite loss in one try at least"):
        found.of_tries(1, "who")


def test_a_seed_takes_its_best_try_the_first_among_equals():
    score = torch.tensor([0.5, 0.2, -1.0, 0.5, 0.7, 0.1], dtype=torch.float64)  # three tries of two seeds
    best = Best(score, torch.arange(6), torch.arange(6.0)[:, None, None])
    mine, which = best.of_tries(3, "who")
    assert which.tolist() == [2, 1]
    assert mine.epoch.tolist() == mine.logits.flatten().tolist() == [4, 3]
    halves = [Best(*(getattr(best, k)[i : i + 2] for k in ("score", "epoch", "logits"))) for i in (0, 2, 4)]
    assert torch.equal(Best.joined(halves).logits, best.logits)


def test_what_is_read_off_in_pieces_is_the_whole(data):
    parts, trainer = made(data, "unimodal")
    trainer.run(1)
    whole, pieces = (alone(trainer, trainer.method, parts.test, size) for size in (4096, 5))
    features = trainer.model.encode({m: v.expand(3, *v.shape) for m, v in parts.test.x.items()})
    for m in data.modalities:
        assert torch.allclose(whole[m], pieces[m], atol=1e-6)
        assert torch.allclose(whole[m], trainer.auxiliary[f"head:{m}"](features[m]), atol=1e-6)
    assert rows_at_once(parts.train) == 4096
    wide = sum(v[0].numel() for v in parts.train.x.values()) * 4
    assert rows_at_once(parts.train, 1000) == (64 << 20) // (wide * 1000) < 4096
