"""Laws of sample-level valuation: Shapley efficiency, systematic places, joint training where nobody lags."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Joint, Valuation
from mmtheory.methods.valuation import contributions, places
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N = 2, 24


def trainer(method, order="abc", seed=3, absent=False):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in order}
        head = FUSIONS["film"](dict.fromkeys(order, 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(seed).draws(range(R))
    x = {m: draws.normal(m, N, 4) for m in order}
    present = {"a": draws.uniform("present", N) < 0.5} if absent else {}
    data = Batch(x, draws.integers("y", 3, N), present)
    config = Settings(epochs=3, batch_size=7, lr=0.05)
    return Trainer(build, method, data, settings=config, stream=Stream(seed), replicates=range(R))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(2, 4))
def test_contributions_share_out_what_everybody_together_is_worth(seed, m):
    order = "abcd"[:m]
    t = trainer(Joint(), order, seed).run(1)
    data = t.train_data
    phi = contributions(t.model, data)
    right = (t.predict(data).argmax(-1) == data.y).double()
    assert (torch.stack(list(phi.values())).sum(0) - m * right).abs().max() <= 1e-12
    if m == 2:
        assert set(torch.stack(list(phi.values())).unique().tolist()) <= {-0.5, 0.0, 0.5, 1.0, 1.5}
        alone = {s: (t.model.fuse(t.model.encode(data.x), frozenset(s)).argmax(-1) == data.y).double() for s in order}
        assert torch.equal(phi["a"], (alone["a"] + 2 * right - alone["b"]) / 2)


@pytest.mark.parametrize("seed", range(3))
def test_other_names_in_another_order_share_out_the_same(seed):
    t = trainer(Joint(), "abcd", seed).run(1)
    here = contributions(t.model, t.train_data)
    other = trainer(Joint(), "dbca", seed)
    other.model.load_state_dict(t.model.state_dict())
    there = contributions(other.model, other.train_data)
    assert list(there) != list(here)
    for m, value in here.items():
        assert (there[m] - value).abs().max() <= 1e-12, m


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(1, 4), n=st.integers(1, 40))
def test_places_are_a_systematic_sample(seed, m, n):
    draws = Stream(seed).draws(range(2))
    copies = {name: 3 * draws.uniform(name, n) * (draws.uniform(name + "?", n) < 0.5) for name in "abcd"[:m]}
    sample, kind = places(copies, draws.uniform("start"))
    weight = torch.stack([torch.ones(2, n, dtype=torch.float64), *copies.values()], -1)
    expected = weight / weight.sum((-2, -1), keepdim=True) * n
    found = torch.zeros_like(expected)
    for r in range(2):
        for i, k in zip(sample[r].tolist(), kind[r].tolist(), strict=True):
            found[r, i, k] += 1
    assert (found.sum((-2, -1)) == n).all()
    assert (found >= expected.floor() - 1e-9).all()
    assert (found <= (expected - 1e-9).ceil() + 1e-9).all()
    nothing, whole = places({name: torch.zeros_like(c) for name, c in copies.items()}, torch.full((2,), 0.999))
    assert torch.equal(nothing, torch.arange(n).expand(2, n))
    assert (whole == 0).all()


def test_who_gets_how_many_copies():
    method = Valuation(2.0)
    value = {"a": torch.tensor([[1.5, 1.0, 0.5, 0.0, -0.5]]), "b": torch.tensor([[0.4, 0.41, 0.99, -0.1, -0.09]])}
    found = method.wanted(value, Batch({"a": torch.zeros(1, 5)}, torch.zeros(1, 5)))
    assert found["a"].tolist() == [[0.0, 0.0, 2.0, 4.0, 6.0]]
    assert found["b"].tolist() == [[4.0, 2.0, 2.0, 6.0, 4.0]]
    absent = method.wanted(
        value, Batch({"a": torch.zeros(1, 5)}, torch.zeros(1, 5), {"a": torch.tensor([[False] * 5])})
    )
    assert absent["a"].sum() == 0
    level = Valuation(level="modality", share=0.3).wanted(value, Batch({"a": torch.zeros(1, 5)}, torch.zeros(1, 5)))
    gap = value["a"].mean() - value["b"].mean()
    assert level["a"].sum() == 0
    assert (level["b"] - 0.3 * 2 / 3 * gap).abs().max() <= 1e-6


def test_where_every_contribution_is_one_it_is_joint_training_bit_for_bit(monkeypatch):
    one = {m: torch.ones(R, N, dtype=torch.float64) for m in "abc"}
    monkeypatch.setattr("mmtheory.methods.valuation.contributions", lambda _model, _data: one)
    assert torch.equal(trainer(Valuation(warmup=0)).run().flat.data, trainer(Joint()).run().flat.data)


def test_only_the_low_contributor_is_heard_on_a_copy(monkeypatch):
    low = {"a": torch.full((R, N), -1.0), "b": torch.ones(R, N), "c": torch.ones(R, N)}
    monkeypatch.setattr("mmtheory.methods.valuation.contributions", lambda _model, _data: low)
    method = Valuation(warmup=0, copies=(0, 0, 1e6))
    t = trainer(method).run(1)
    assert method.heard["a"].all()
    assert not method.heard["b"].any()
    start = trainer(Joint()).flat.data
    moved = {m: (t.flat.data - start)[:, t.flat.columns[m]].abs().max() for m in "ab"}
    encoder = sum(p[0].numel() for p in t.model.encoders["b"].parameters())
    c = t.flat.columns["b"]
    decay = (1 - t.settings.lr * t.settings.weight_decay) ** 4
    assert moved["a"] > 1e-3
    still = t.flat.data[:, c.start : c.start + encoder] / start[:, c.start : c.start + encoder]
    assert (still - decay).abs().max() <= 1e-4


def test_warmup_is_joint_training():
    assert torch.equal(trainer(Valuation(warmup=3)).run().flat.data, trainer(Joint()).run().flat.data)
    assert not torch.equal(trainer(Valuation(warmup=2)).run().flat.data, trainer(Joint()).run().flat.data)


@pytest.mark.parametrize("level", ["sample", "modality"])
def test_missing_modalities_are_no_obstacle(level):
    assert trainer(Valuation(warmup=0, level=level), absent=True).run().flat.data.isfinite().all()


@pytest.mark.parametrize("options", [{"gain": -1.0}, {"level": "batch"}, {"cuts": (0.0, 1.0)}, {"copies": (-1, 0, 0)}, {"share": 2.0}, {"warmup": -1}])  # fmt: skip
def test_bad_settings_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        Valuation(**options)
