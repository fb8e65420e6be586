"""Laws of ReconBoost: whose turn it is, who moves, and what the others' knowledge does to the push."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import ReconBoost
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N = 2, 24


def trainer(method, present=None, **options):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "cab"}
        head = FUSIONS["film"](dict.fromkeys("cab", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    data = Batch({m: draws.normal(m, N, 4) for m in "cab"}, draws.integers("y", 3, N), present or {})
    config = Settings(**({"epochs": 4, "batch_size": 8, "lr": 0.05} | options))
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(R))


def test_turns_pass_in_alphabetical_order_and_a_round_ends_with_rectification():
    method = ReconBoost(stage=2, rectify=1)
    trainer(method)
    assert [method.turn(e) for e in range(9)] == ["a", "a", "b", "b", "c", "c", None, "a", "a"]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_who_rests_stands_still_bit_for_bit_momentum_included(optimiser):
    t = trainer(ReconBoost(memory=0.5, rectify=1), optimiser=optimiser)
    names = ("velocity",) if optimiser == "sgd" else ("mean", "square")
    for who in ("a", "b", "c", None):
        before = {"theta": t.flat.data.clone()} | {k: t.optimiser.state_dict()[k].clone() for k in names}
        t.run(1)
        after = {"theta": t.flat.data} | {k: t.optimiser.state_dict()[k] for k in names}
        for owner, columns in t.flat.columns.items():
            rests = owner == "shared" or (who is not None and owner not in {who, f"head:{who}"})
            for key, old in before.items():
                assert torch.equal(after[key][:, columns], old[:, columns]) == rests, (who, owner, key)


def first_step(method, loss):
    """Minus the first step of encoder and head of a, and the gradient there of ``loss(logits, y)``."""
    t = trainer(method, epochs=1, batch_size=N, lr=1.0, weight_decay=0.0, momentum=0.0)
    before = t.flat.data.clone()
    heads = {m: t.auxiliary[f"head:{m}"] for m in "abc"}
    logits = {m: heads[m](t.model.encoders[m](t.train_data.x[m])) for m in "abc"}
    parameters = [*t.model.encoders["a"].parameters(), *heads["a"].parameters()]
    gradients = torch.autograd.grad(loss(logits, t.train_data.y).mean(-1).sum(), parameters)
    step = before - t.run().flat.data
    found = torch.cat([step[:, t.flat.columns["a"]], step[:, t.flat.columns["head:a"]]], -1)
    return found, torch.cat([g.reshape(R, -1) for g in gradients], -1)


@pytest.mark.parametrize("w2", [0.0, 1.0, 5.0])
def test_the_step_is_the_gradient_of_the_papers_loss(w2):
    """Its second term is written as in the paper, with the label's mask on the others' probabilities."""

    def loss(logits, y):
        label = torch.nn.functional.one_hot(y, 3).double()
        others = (logits["b"] + logits["c"]).softmax(-1).detach()
        logs = logits["a"].log_softmax(-1)
        return -5.0 * (label * logs).sum(-1) + w2 * (label * others * logs).sum(-1)

    found, expected = first_step(ReconBoost(w2), loss)
    assert (found - expected).abs().max() <= 1e-12


def test_without_the_others_it_is_alternating_unimodal_training():
    found, expected = first_step(
        ReconBoost(0.0, w1=1.0), lambda logits, y: cross_entropy(logits["a"].mT, y, reduction="none")
    )
    assert (found - expected).abs().max() <= 1e-12


def test_the_memory_term_has_a_gradient():
    """The released code's has none: with and without it training would be the same."""
    found = [trainer(ReconBoost(memory=alpha)).run().flat.data for alpha in (0.0, 1.0)]
    assert ((found[0] - found[1]).abs().amax(-1) > 1e-6).all()


def test_absent_modalities_neither_teach_nor_vote():
    here = torch.zeros(R, N, dtype=torch.bool)
    t = trainer(ReconBoost(), present={"a": here}).run()
    fresh = trainer(ReconBoost())
    encoder = sum(p[0].numel() for p in t.model.encoders["a"].parameters())
    c = t.flat.columns["a"]
    cut = slice(c.start, c.start + encoder)
    assert (t.flat.data[:, cut] - fresh.flat.data[:, cut]).abs().max() <= 1e-3  # weight decay alone
    with_a = t.predict(t.train_data)
    assert (
        with_a
        - t.predict(
            Batch({**t.train_data.x, "a": torch.zeros(R, N, 4, dtype=torch.float64)}, t.train_data.y, {"a": here})
        )
    ).abs().max() == 0


@pytest.mark.parametrize("options", [{"w1": 0.0}, {"w2": 6.0}, {"memory": -1.0}, {"stage": 0}, {"rectify": -1}])
def test_bad_settings_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        ReconBoost(**options)
