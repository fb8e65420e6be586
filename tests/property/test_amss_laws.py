"""AMSS: shares, draws of a fixed size with known probabilities, unbiased weights."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.methods import AMSS, AMSSPlus, Gradients, Joint, Method
from mmtheory.methods._sampling import inclusion, sequential_draw, systematic_draw
from mmtheory.methods._units import encoder_layers
from mmtheory.models import FUSIONS, CNNEncoder, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

SEEDS = st.integers(0, 2**32)
Z = 5.5  # a largest of 1000 z-scores beyond 5.5 has probability below 4e-5; seeds are fixed


def weights(seed, n, spread=2.0):
    w = (spread * Stream(seed).draws().normal("w", n)).exp()
    return w / w.sum()


@given(st.lists(st.floats(0.01, 4.0), min_size=2, max_size=6), st.floats(0.05, 5.0))
def test_shares(significance, temperature):
    method = AMSS(temperature, clip=(0.0, 1.0))
    named = {str(i): torch.tensor(r, dtype=torch.float64) for i, r in enumerate(significance)}
    kappa = method.shares(named)
    assert float(sum(kappa.values())) == pytest.approx(len(significance) - 1)
    for i in named:
        for j in named:
            assert named[i] <= named[j] or kappa[i] <= kappa[j]
    clipped = AMSS(temperature).shares(named)
    assert all(0.1 <= k <= 0.9 for k in clipped.values())
    level = method.shares({**named, "0": torch.tensor(-1.0)})
    assert all(float(k) == pytest.approx(1 - 1 / len(named)) for k in level.values())


@given(SEEDS, st.integers(1, 12), st.data())
def test_inclusion_probabilities(seed, n, data):
    k = data.draw(st.integers(1, n))
    w = weights(seed, n)
    pi = inclusion(w, torch.tensor(float(k)))
    assert float(pi.sum()) == pytest.approx(k, abs=1e-9)
    assert (pi > 0).all()
    assert (pi <= 1).all()
    free = pi < 1
    ratio = pi[free] / w[free]
    assert ratio.numel() == 0 or float(ratio.max() / ratio.min()) == pytest.approx(1, rel=1e-9)
    # A cut unit is one that its proportional share would carry beyond 1.
    assert not free.any() or (w[~free] * ratio.max() >= 1 - 1e-9).all()
    g2 = w * 3.0
    assert float((pi * g2).sum()) >= k / n * float(g2.sum()) - 1e-12


@given(SEEDS, st.integers(1, 12), st.data())
def test_draws_have_a_fixed_size(seed, n, data):
    k = data.draw(st.integers(1, n))
    w, draws = weights(seed, n).expand(50, n), Stream(seed).child("draw").draws(range(50))
    pi = inclusion(w, torch.full((50,), float(k), dtype=torch.float64))
    assert (systematic_draw(pi, draws.uniform("s"), draws.uniform("o", n)).sum(-1) == k).all()
    assert (sequential_draw(w, torch.full((50,), k), draws.uniform("u", n)).sum(-1) == k).all()


@pytest.mark.parametrize(("n", "k"), [(8, 4), (5, 1), (12, 9)])
def test_each_unit_is_drawn_with_its_own_probability(n, k):
    trials = 20_000
    w, draws = 0.9 * weights(n, n) + 0.1 / n, Stream(n).child("draw").draws()
    pi = inclusion(w, torch.tensor(float(k)))
    start, order = draws.uniform("s", trials), draws.uniform("o", trials, n)
    mask = systematic_draw(pi.expand(trials, n), start, order)
    error = (mask.double().mean(0) - pi) / (pi * (1 - pi) / trials).sqrt().clamp(min=1e-12)
    assert error.abs().max() < Z
    mean_weight = (mask / pi).mean(0)
    assert ((mean_weight - 1).abs() <= Z * ((1 / pi - 1) / trials).sqrt() + 1e-12).all()


def test_sequential_draws_follow_their_law():
    # Two of three without replacement: P(i first) P(j next | i) + P(j first) P(i next | j).
    w, trials = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64), 20_000
    mask = sequential_draw(
        w.expand(trials, 3), torch.full((trials,), 2), Stream(0).draws().uniform("u", trials, 3)
    ).double()
    p01 = 0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7
    found = (mask[:, 0] * mask[:, 1]).mean()
    assert abs(found - p01) <= Z * math.sqrt(p01 * (1 - p01) / trials)


def build(draws):
    encoders = {
        "image": CNNEncoder((1, 6), 8, draws=draws, name="image", size=(4, 4), dtype=torch.float64),
        "text": MLPEncoder((5, 10, 8), draws=draws, name="text", dtype=torch.float64),
    }
    head = FUSIONS["sum"]({"image": 8, "text": 8}, 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


class Spy(Method):
    """Keeps what a method makes of the first plain gradient."""

    card = Joint.card

    def __init__(self, inner):
        self.inner, self.seen = inner, None

    def bind(self, model, draws):
        self.inner.bind(model, draws)

    def on_gradients(self, step, gradients):
        self.plain = gradients.total().clone()
        self.layers = {m: encoder_layers(step, gradients, m) for m in step.model.modalities}
        total = self.inner.on_gradients(
            step, Gradients(gradients.flat, {"total": self.plain.clone()}, gradients.reached)
        )
        self.masked, self.flat = total, gradients.flat
        kappa = self.inner.shares(self.inner.significance(step))
        self.masked_layers = {
            m: encoder_layers(step, Gradients(gradients.flat, {"total": total}, {}), m) for m in kappa
        }
        self.kappa = kappa
        return total


def spied(method, replicates=3):
    draws = Stream(5).draws(range(replicates))
    data = Batch(
        {"image": draws.normal("i", 20, 1, 4, 4), "text": draws.normal("t", 20, 5)}, draws.integers("y", 3, 20)
    )
    spy = Spy(method)
    Trainer(
        build, spy, data, settings=Settings(epochs=1, batch_size=20), stream=Stream(1), replicates=range(replicates)
    ).run()
    return spy


@pytest.mark.parametrize(
    "method", [AMSS(), AMSSPlus(), AMSSPlus(weights="released")], ids=["none", "exact", "released"]
)
def test_units_move_whole_and_in_the_right_number(method):
    spy = spied(method)
    units = {m: [layer.units for layer in layers] for m, layers in spy.layers.items()}
    assert units == {"image": [6, 8], "text": [10, 8]}
    for m, layers in spy.masked_layers.items():
        for before, after in zip(spy.layers[m], layers, strict=True):
            assert len(after.parts) == 2  # weight and bias
            moved = after.squares() > 0
            alive = before.squares() > 0
            kept = (before.units * spy.kappa[m]).ceil()
            assert (moved.sum(-1) <= kept).all()
            assert (moved.sum(-1) >= kept - (~alive).sum(-1)).all()
            if method.weights == "none":
                assert torch.equal(after.squares()[moved], before.squares()[moved])
    shared = spy.flat.columns["image"].stop - 8 * 3 - 3
    assert torch.equal(
        spy.masked[:, shared : spy.flat.columns["image"].stop], spy.plain[:, shared : spy.flat.columns["image"].stop]
    )


def test_the_exact_weights_leave_the_gradient_as_it_is_on_average():
    spy = spied(AMSSPlus(), replicates=1)
    many = 4000
    layer = spy.layers["text"][0]
    share = layer.squares() / layer.squares().sum(-1, keepdim=True)
    kept = torch.full((many,), 4.0, dtype=torch.float64)
    draws = Stream(2).draws(range(many))
    pi = inclusion(0.9 * share.expand(many, -1) + 0.1 / 10, kept)
    factor = systematic_draw(pi, draws.uniform("s"), draws.uniform("o", 10)) / pi
    error = (factor.mean(0) - 1).abs()
    assert (error <= Z * ((1 / pi[0] - 1) / many).sqrt() + 1e-12).all()


@pytest.mark.parametrize("n", [64, 256])
def test_released_weights_grow_with_the_width(n):
    # With equal units every kept gradient is multiplied by n/2, whatever the share that is kept.
    share = torch.full((1, n), 1 / n, dtype=torch.float64)
    kept = torch.tensor([n / 2], dtype=torch.float64)
    mask = sequential_draw(share, kept, Stream(0).draws(range(1)).uniform("u", n))
    gain = (mask / (share + 1 / n)).square().sum().sqrt() / math.sqrt(n)
    assert float(gain) == pytest.approx(n / 2 * math.sqrt(0.5))


@pytest.mark.parametrize("bad", [{"temperature": 0.0}, {"clip": (0.9, 0.1)}, {"floor": 0.0}, {"weights": "x"}])
def test_bad_settings_are_refused(bad):
    with pytest.raises(ValueError, match="amss"):
        AMSS(**bad)
