"""Numbers as targets: the squared loss against its closed forms, and who refuses it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, MSLR, OGM, UME, Chain, Joint, Uniform, made
from mmtheory.models import FUSIONS, DeepLinearEncoder, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": 3, "b": 2}
SERVING = [name for name, kind in METHODS.items() if not kind.why_classes]
SQUARED = Settings(epochs=3, batch_size=16, loss="squared")


def data(seed=0, replicates=3, n=40, dtype=torch.float32):
    draws = Stream(seed, ("numbers",)).draws(range(replicates))
    x = {m: draws.normal(m, n, d).to(dtype) for m, d in WIDTHS.items()}
    y = x["a"][..., 0] + 2 * x["b"][..., 1] + 0.1 * draws.normal("y", n).to(dtype)
    return Batch(x, y)


def build(outputs=1, fusion="concat", *, linear=False):
    def made_model(draws):
        encoders = {
            m: DeepLinearEncoder((d, 4), draws=draws, name=m) if linear else MLPEncoder((d, 8, 4), draws=draws, name=m)
            for m, d in WIDTHS.items()
        }
        head = FUSIONS[fusion](dict.fromkeys(WIDTHS, 4), outputs, draws=draws)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return made_model


def trainer(method, part, *, replicates=(0, 1, 2), how=SQUARED, model=None, **more):
    held = part.rows(slice(0, 8))
    return Trainer(
        model or build(), method, part, settings=how, stream=Stream(7), replicates=replicates, validation=held, **more
    )


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["sgd", "adam"]), st.sampled_from([1, 7, 16, 40]))
def test_the_closed_form_gives_the_graphs_bits(seed, optimiser, size):
    how = Settings(epochs=2, batch_size=size, optimiser=optimiser, loss="squared")
    closed, graph = (
        trainer(Joint(), data(seed), how=how, closed=which).run().flat.data.clone() for which in (True, False)
    )
    assert torch.equal(closed, graph)


def test_the_gradient_is_that_of_half_the_mean_squared_error():
    part = data()
    run = trainer(Joint(), part, closed=False)
    seen = []
    run.watch = lambda step, gradients, *, by_hand: seen.append((step.batch, gradients.rows["total"].clone()))
    run.run(1)
    other = trainer(Joint(), part)
    batch, found = seen[0]
    loss = ((other.model(batch.x).logits.squeeze(-1) - batch.y) ** 2).mean(-1).sum() / 2
    parts = torch.autograd.grad(loss, other.flat.parameters)
    torch.testing.assert_close(found, other.flat.gather(parts), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SERVING)
def test_a_method_that_serves_numbers_learns_them_stacked_as_separately(name):
    part = data()
    stacked = trainer(made(name), part).run()
    assert bool(stacked.alive.all())
    untrained = trainer(made(name), part)
    assert not torch.equal(stacked.flat.data, untrained.flat.data)
    alone = trainer(made(name), Batch({m: v[1:2] for m, v in part.x.items()}, part.y[1:2]), replicates=(1,)).run()
    torch.testing.assert_close(stacked.flat.data[1:2], alone.flat.data, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in SERVING])
def test_a_method_that_looks_at_classes_refuses_with_its_reason_and_the_alternatives(name):
    with pytest.raises(ArgumentError, match=r"squared loss \(.+\); methods that can be trained by it: joint, "):
        trainer(made(name), data())


def test_a_chain_refuses_for_its_members():
    with pytest.raises(ArgumentError, match=r"chain: .*squared loss \(ogm: its scores"):
        trainer(Chain(Uniform(), OGM()), data())
    assert bool(trainer(Chain(Uniform(), MSLR()), data()).run().alive.all())


def test_an_average_of_probabilities_refuses_and_one_of_outputs_does_not():
    with pytest.raises(ArgumentError, match="averages probabilities"):
        trainer(UME(average="probabilities"), data())
    part = data()
    run = trainer(UME(), part).run()
    own = run.method.unimodal_logits(run.model, run.auxiliary, part)
    torch.testing.assert_close(run.predict(part), (own["a"] + own["b"]) / 2)


@pytest.mark.parametrize(
    ("how", "outputs", "y", "said"),
    [
        (Settings(), 2, torch.zeros(3, 40), "expected class labels for cross-entropy, found numbers"),
        (SQUARED, 1, torch.zeros(3, 40, dtype=torch.int64), "expected numbers for a squared loss"),
        (SQUARED, 2, torch.zeros(3, 40), "expected one output for a squared loss, found 2"),
        (SQUARED, 1, torch.full((3, 40), torch.nan), "expected finite numbers"),
    ],
)
def test_labels_that_the_loss_is_not_for_are_refused(how, outputs, y, said):
    with pytest.raises(ArgumentError, match=said):
        trainer(Joint(), Batch(data().x, y), how=how, model=build(outputs))
    with pytest.raises(ArgumentError, match="expected a loss among cross-entropy, squared, found 'hinge'"):
        Settings(loss="hinge")  # pyright: ignore[reportArgumentType]


def test_linear_networks_reach_least_squares():
    part = data(n=64, dtype=torch.float64)

    def one(draws):
        encoders = {m: DeepLinearEncoder((d, 4), draws=draws, name=m, dtype=torch.float64) for m, d in WIDTHS.items()}
        head = FUSIONS["concat"](dict.fromkeys(WIDTHS, 4), 1, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    how = Settings(epochs=600, batch_size=64, lr=0.05, weight_decay=0.0, loss="squared")
    run = trainer(Joint(), part, how=how, model=one).run()
    x = torch.cat([part.stacked(), torch.ones_like(part.y).unsqueeze(-1)], -1)
    best = x @ torch.linalg.lstsq(x, part.y.unsqueeze(-1)).solution
    torch.testing.assert_close(run.predict(part), best, rtol=1e-6, atol=1e-6)
