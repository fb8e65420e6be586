"""Laws of Diagnosing & Re-learning: a point of the segment to the initialisation, k-means against scikit-learn's."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Relearning
from mmtheory.methods.relearning import kmeans, purity
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, N = 3, 24


def trainer(method):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS["sum"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    data, held = (
        Batch({m: draws.normal(f"{m} {k}", N, 4) for m in "abc"}, draws.integers(f"y {k}", 3, N)) for k in (0, 1)
    )
    config = Settings(epochs=4, batch_size=8, lr=0.0, weight_decay=0.0, momentum=0.0)
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(R), validation=held)


def moved_away(t):
    """The same trainer with parameters elsewhere; its learning rate is zero, so that only re-learning moves them."""
    away = Stream(9).draws(range(R)).normal("away", t.flat.data.shape[-1])
    start = t.flat.data.clone()
    t.flat.data.add_(away)
    return start, t.flat.data.clone()


@settings(max_examples=20, deadline=None)
@given(lam=st.floats(0.01, 20.0))
def test_each_encoder_lands_on_its_segment_by_the_stated_share(lam):
    method = Relearning(lam, every=1, times=1)
    t = trainer(method)
    start, here = moved_away(t)
    seen = {}
    gaps = method.gaps

    def spy(view):
        seen.update(gaps(view))
        return seen

    method.gaps = spy
    t.run(2)
    for m in "abc":
        c = t.flat.columns[m]
        encoder = slice(c.start, c.start + sum(p[0].numel() for p in t.model.encoders[m].parameters()))
        alpha = torch.tanh(lam * seen[m]).unsqueeze(-1)
        assert ((alpha >= 0) & (alpha <= 1)).all()
        expected = alpha * start[:, encoder] + (1 - alpha) * here[:, encoder]
        assert (t.flat.data[:, encoder] - expected).abs().max() <= 1e-12
        rest = slice(encoder.stop, c.stop)
        assert torch.equal(t.flat.data[:, rest], here[:, rest])


def test_it_acts_so_often_and_no_more():
    method = Relearning(2.0, every=1, times=2)
    t = trainer(method)
    moved_away(t)
    changed = []
    for _ in range(4):
        before = t.flat.data.clone()
        t.run(1)
        changed.append(not torch.equal(before, t.flat.data))
    assert changed == [False, True, True, False]


def test_a_strength_of_zero_in_a_tensor_keeps_that_replicate_bit_for_bit():
    lam = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    t = trainer(Relearning(lam, every=1))
    _, here = moved_away(t)
    t.run(2)
    assert (t.flat.data == here).all(-1).tolist() == [True, False, True]


def test_equal_splits_have_no_gap_and_leave_everything_as_it_is():
    t = trainer(Relearning(5.0, every=1))
    t.validation = t.train_data
    _, here = moved_away(t)
    t.run(3)
    assert torch.equal(t.flat.data, here)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 5))
def test_kmeans_finds_what_scikit_learn_finds_from_the_same_start(seed, k):
    """Well separated clusters: the partition is unique and both must find it, in every replicate at once."""
    draws = Stream(seed).draws(range(2))
    truth = draws.integers("truth", k, 60)
    truth[:, :k] = torch.arange(k)
    centres = 50.0 * torch.eye(k, dtype=torch.float64)
    z = centres[truth] + draws.normal("noise", 60, k)
    found = kmeans(z, k, draws.uniform("chances", k), rounds=30)
    assert torch.equal(purity(found, truth, k), torch.ones(2, dtype=torch.float64))
    for r in range(2):
        first = np.stack([z[r][found[r] == j].mean(0).numpy() for j in range(k)])
        sk = KMeans(k, init=first, n_init=1).fit(z[r].numpy())
        assert (sk.labels_ == found[r].numpy()).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 5))
def test_lloyd_only_ever_lowers_the_inertia(seed, k):
    draws = Stream(seed).draws(range(2))
    z, chances = draws.normal("z", 40, 3), draws.uniform("chances", k)

    def inertia(clusters):
        member = torch.nn.functional.one_hot(clusters, k).double()
        centre = member.mT @ z / member.sum(-2).clamp(min=1).unsqueeze(-1)
        return ((z - member @ centre) ** 2).sum((-2, -1))

    ladder = torch.stack([inertia(kmeans(z, k, chances, rounds=i)) for i in (0, 1, 2, 5, 20)])
    assert (ladder[1:] <= ladder[:-1] + 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_purity_ignores_the_names_of_clusters_and_lies_between_the_largest_class_and_one(seed):
    draws = Stream(seed).draws(range(2))
    clusters, y = draws.integers("clusters", 4, 30), draws.integers("y", 4, 30)
    p = purity(clusters, y, 4)
    assert torch.equal(purity((clusters + 1) % 4, y, 4), p)
    largest = torch.nn.functional.one_hot(y, 4).sum(-2).amax(-1).double() / 30
    assert (p >= largest - 1e-12).all()
    assert (purity(y, y, 4) == 1).all()


@pytest.mark.parametrize("options", [{"lam": -1.0}, {"every": 0}, {"times": -1}, {"rounds": -1}])
def test_bad_settings_are_refused(options):
    with pytest.raises(ArgumentError, match="expected"):
        Relearning(**options)
