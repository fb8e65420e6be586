"""Laws of the methods that set an encoder's pace by its validation measures."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import MSES, MSLR, Joint
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer


def trainer(method, optimiser="sgd", validation=True, config=None):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS["film"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(3))
    data, held = (
        Batch({m: draws.normal(f"{m} {k}", 24, 4) for m in "abc"}, draws.integers(f"y {k}", 3, 24)) for k in (0, 1)
    )
    config = config or Settings(epochs=6, batch_size=8, lr=0.05, optimiser=optimiser)
    held = held if validation else None
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(3), validation=held)


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_a_stopped_encoder_stands_still_bit_for_bit_where_it_was_stopped(optimiser):
    patience = torch.tensor([1.0, 2.0, torch.inf], dtype=torch.float64)
    method = MSES(patience, tolerance=10.0)  # nothing ever falls so far: replicate r is stopped after patience epochs
    t = trainer(method, optimiser)
    reference = trainer(Joint(), optimiser)
    for epoch in range(4):
        before = t.flat.data.clone()
        t.run(1)
        reference.run(1)
        for m in "abc":
            columns = t.flat.columns[m]
            still = (t.flat.data[:, columns] == before[:, columns]).all(-1)
            # The first measure always falls from infinity; each later one is stale.
            assert still.tolist() == [epoch >= 1, epoch >= 2, False]
            assert method.stopped(m).equal(still)
    assert torch.equal(t.flat.data[2], reference.flat.data[2])


def test_a_falling_loss_resets_the_patience():
    method = MSES(2.0)
    t = trainer(method)
    t.run(1)
    method.best = {m: torch.full_like(v, torch.inf) for m, v in method.best.items()}
    t.run(1)
    assert all((v == 0).all() for v in method.stale.values())


def test_constant_accuracy_leaves_joint_training_bit_for_bit(monkeypatch):
    constant = {m: torch.full((3,), 1 / 3, dtype=torch.float64) for m in "abc"}
    monkeypatch.setattr("mmtheory.methods.mslr.own_accuracies", lambda _logits, _data: constant)
    assert torch.equal(trainer(MSLR(first=0)).run().flat.data, trainer(Joint()).run().flat.data)


def test_before_the_second_measure_it_is_joint_training_bit_for_bit():
    method = MSLR(first=0, measure="score")
    ours, joint = trainer(method).run(1), trainer(Joint()).run(1)
    assert torch.equal(ours.flat.data, joint.flat.data)
    assert not torch.equal(ours.run().flat.data, joint.run().flat.data)


def test_a_rising_modality_speeds_up_and_a_falling_one_slows_down_within_bounds(monkeypatch):
    path = iter([0.5, 0.55, 0.4, 0.01, 0.99, 0.5])

    def measured(_logits, _data):
        a = next(path)
        return {"a": torch.full((3,), a), "b": torch.full((3,), 1 - a), "c": torch.full((3,), 0.5)}

    monkeypatch.setattr("mmtheory.methods.mslr.own_accuracies", measured)
    method = MSLR(first=0, window=2)
    t = trainer(method)
    history = []
    for _ in range(6):
        t.run(1)
        history.append([float(method.factor[m][0]) for m in "abc"])
    a = [row[0] for row in history]
    expected = [1.0, 0.55 / 0.5, 0.4 / 0.525, 0.7, 1.3, 1.0]
    assert a == pytest.approx(expected, abs=1e-6)
    assert all(row[2] == 1.0 for row in history)


def test_a_smaller_factor_is_a_smaller_learning_rate_of_that_encoder():
    """The whole move of the first step is scaled, and nobody else's."""
    method = MSLR()
    config = Settings(epochs=1, batch_size=24, lr=0.05)
    slow, plain = trainer(method, config=config), trainer(Joint(), config=config)
    start = slow.flat.data.clone()
    method.factor["a"] = torch.tensor([0.5, 1.0, 0.0], dtype=torch.float64)
    moves = [t.run(1).flat.data - start for t in (slow, plain)]
    for owner, columns in slow.flat.columns.items():
        c = torch.tensor([[0.5], [1.0], [0.0]]) if owner == "a" else 1.0
        assert (moves[0][:, columns] - c * moves[1][:, columns]).abs().max() <= 1e-15


@pytest.mark.parametrize("method", [MSES(), MSLR()])
def test_without_a_validation_split_they_are_refused(method):
    with pytest.raises(ArgumentError, match="expected a validation split, found none"):
        trainer(method, validation=False)


@pytest.mark.parametrize(
    "make",
    [lambda: MSES(0), lambda: MSES(tolerance=-1.0), lambda: MSLR(2.0), lambda: MSLR(window=0), lambda: MSLR(low=1.1), lambda: MSLR(measure="auc")],
)  # fmt: skip
def test_bad_settings_are_refused(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()
