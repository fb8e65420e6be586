"""Unimodal training, its ensemble UME, and MMCosine: nobody else's data, nobody's lengths."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import UME, MMCosine, Unimodal
from mmtheory.methods.mmcosine import Directions
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

WIDTHS = {"a": (4, 6), "b": (3, 5), "c": (2, 6)}
SETTINGS = Settings(epochs=3, batch_size=8, lr=0.1)


def build(draws):
    encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=torch.float64) for m, w in WIDTHS.items()}
    head = FUSIONS["film"]({m: w[-1] for m, w in WIDTHS.items()} | {"c": 6}, 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def data(loud="b", n=20):
    draws = Stream(3).draws(range(2))
    y = draws.integers("y", 3, n)
    x = {m: draws.normal(m, n, w[0]) for m, w in WIDTHS.items()}
    x[loud][..., :2] += 4 * torch.nn.functional.one_hot(y, 3)[..., :2]
    return Batch(x, y)


def trained(method, batch=None):
    return Trainer(build, method, batch or data(), settings=SETTINGS, stream=Stream(0), replicates=range(2)).run()


@pytest.mark.parametrize("method", [Unimodal, UME])
def test_an_encoder_never_sees_another_modality(method):
    here = data()
    there = Batch({**here.x, "b": -here.x["b"], "c": here.x["c"].exp()}, here.y)
    mine, other = trained(method(), here), trained(method(), there)
    for owner in ("a", "head:a"):
        columns = mine.flat.columns[owner]
        assert torch.equal(mine.flat.data[:, columns], other.flat.data[:, columns])
    alone = trained(Unimodal("a"))
    untouched = Trainer(build, Unimodal(), here, settings=SETTINGS, stream=Stream(0), replicates=range(2))
    for owner, columns in mine.flat.columns.items():
        expected = mine if owner in {"a", "head:a"} else untouched
        assert torch.equal(alone.flat.data[:, columns], expected.flat.data[:, columns])


@pytest.mark.parametrize("loud", ["a", "b", "c"])
def test_unimodal_predicts_with_the_modality_that_learnt_best(loud):
    run = trained(Unimodal(), data(loud))
    own = run.method.unimodal_logits(run.model, run.auxiliary, run.train_data)
    assert torch.equal(run.predict(run.train_data), own[loud])


def test_a_modality_that_is_absent_does_not_speak():
    run = trained(Unimodal(), data("b"))
    here = run.train_data
    n = torch.arange(here.n) % 3
    there = {"b": (n == 0).expand(2, -1), "a": (n < 2).expand(2, -1), "c": (n < 2).expand(2, -1)}
    own = run.method.unimodal_logits(run.model, run.auxiliary, here)
    next_best = "a" if float(run.method.running[0][0]) <= float(run.method.running[2][0]) else "c"
    said = run.predict(Batch(here.x, here.y, there))
    assert torch.equal(said[:, n == 0], own["b"][:, n == 0])
    assert torch.equal(said[:, n == 1][:1], own[next_best][:, n == 1][:1])
    assert bool((said[:, n == 2] == 0).all())
    only = trained(Unimodal("a"))
    assert bool((only.predict(Batch(here.x, here.y, {"a": torch.zeros(2, here.n, dtype=torch.bool)})) == 0).all())


def test_ume_is_the_mean_of_unimodal_predictions():
    run = trained(UME())
    own = torch.stack(list(run.method.unimodal_logits(run.model, run.auxiliary, run.train_data).values()))
    assert torch.allclose(run.predict(run.train_data), own.mean(0))
    probable = trained(UME(average="probabilities"))
    assert torch.allclose(probable.predict(run.train_data).exp(), own.softmax(-1).mean(0))
    first = torch.ones(2, 20, dtype=torch.bool)
    first[:, 5:] = False
    said = run.predict(Batch(run.train_data.x, run.train_data.y, {"b": first}))
    assert torch.allclose(said[:, :5], own.mean(0)[:, :5])
    assert torch.allclose(said[:, 5:], own[[0, 2]].mean(0)[:, 5:])


def test_unknown_modalities_are_refused():
    with pytest.raises(ArgumentError, match=r"unimodal: expected a modality among a, b, c, found 'x'"):
        trained(Unimodal("x"))


@given(st.integers(0, 2**32), st.floats(1e-3, 1e3), st.floats(0.1, 20))
def test_cosine_logits_are_bounded_and_know_no_lengths(seed, stretch, scale):
    draws = Stream(seed).draws(range(2))
    head = Directions(5, 3, draws, "h", torch.float64)
    z = draws.normal("z", 7, 5)
    said = head(z)
    assert said.abs().max() <= 1 + 1e-12
    assert torch.allclose(head(stretch * z), said, atol=1e-9)
    head.weight.data.mul_(stretch)
    assert torch.allclose(head(z), said, atol=1e-9)
    assert torch.equal(head(torch.zeros_like(z)), torch.zeros(2, 7, 3, dtype=torch.float64))
    method = MMCosine(scale)
    run = Trainer(build, method, data(), settings=SETTINGS, stream=Stream(seed), replicates=range(2))
    assert run.predict(run.train_data).abs().max() <= 3 * scale + 1e-9


def test_stretched_features_do_not_change_a_cosine_model_but_a_joint_one():
    run = trained(MMCosine())
    said = run.predict(run.train_data)
    for p in list(run.model.encoders["b"].layers):
        p.data.mul_(7.0)
    assert torch.allclose(run.predict(run.train_data), said)
