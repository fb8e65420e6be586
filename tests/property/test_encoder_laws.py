"""What holds of every encoder: stacking, samples apart, declared shapes, gradients, neutral forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Joint
from mmtheory.models import (
    CNNEncoder,
    DeepLinearEncoder,
    MLPEncoder,
    MultimodalModel,
    TransformerEncoder,
)
from mmtheory.models.fusion import Concat
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

F64 = torch.float64
ENCODERS = {
    "linear": lambda d, **k: MLPEncoder((5, 3), draws=d, name="x", activate=False, **k),
    "mlp": lambda d, **k: MLPEncoder((5, 6, 4, 3), draws=d, name="x", **k),
    "deep linear": lambda d, **k: DeepLinearEncoder((5, 4, 4, 3), draws=d, name="x", **k),
    "cnn": lambda d, **k: CNNEncoder((2, 3, 4), 3, draws=d, name="x", size=(5, 6), **k),
    "transformer": lambda d, **k: TransformerEncoder(4, 3, 3, draws=d, name="x", d=4, layers=2, **k),
}
seeds = st.integers(0, 2**32)
few = settings(max_examples=8)


def made(name, stream, replicates=None):
    return ENCODERS[name](stream.child("init").draws(replicates), dtype=F64)


def inputs(encoder, stream, n=4, replicates=None):
    return stream.child("inputs").draws(replicates).normal("x", n, *encoder.shape)


def close(a, b, tolerance=1e-12):
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


@pytest.mark.parametrize("name", sorted(ENCODERS))
@few
@given(seed=seeds, replicates=st.integers(1, 4))
def test_stacked_equals_separate_with_its_gradient(name, seed, replicates):
    stream = Stream(seed)
    stacked = made(name, stream, range(replicates))
    x = inputs(stacked, stream, replicates=range(replicates))
    z = stacked(x)
    assert z.shape == (replicates, 4, stacked.width)
    every = torch.autograd.grad(z.sin().sum(), list(stacked.parameters()))
    for r in range(replicates):
        own = ENCODERS[name](stream.child("init").child(r).draws(), dtype=F64)
        alone = own(x[r])
        assert close(z[r], alone)
        for g, h in zip(every, torch.autograd.grad(alone.sin().sum(), list(own.parameters())), strict=True):
            assert close(g[r], h)


@pytest.mark.parametrize("name", sorted(ENCODERS))
@few
@given(seed=seeds)
def test_a_sample_depends_on_no_other(name, seed):
    encoder = made(name, Stream(seed), range(2))
    x = inputs(encoder, Stream(seed), n=5, replicates=range(2))
    assert close(encoder(x[:, 1:2]), encoder(x)[:, 1:2])


@pytest.mark.parametrize("name", sorted(ENCODERS))
@settings(max_examples=2)
@given(seed=seeds)
def test_gradient_is_that_of_finite_differences(name, seed):
    encoder = made(name, Stream(seed))
    x = inputs(encoder, Stream(seed), n=2)
    free = list(encoder.parameters())
    if name != "mlp":  # its chain is differentiated in closed form, once
        assert gradcheck(encoder, (x.clone().requires_grad_(),), fast_mode=True)
    here = [p.detach().clone() for p in free]
    way = [torch.sin(torch.arange(p.numel(), dtype=F64) + i).view(p.shape) for i, p in enumerate(free)]
    slope = sum((g * v).sum() for g, v in zip(torch.autograd.grad(encoder(x).pow(2).sum(), free), way, strict=True))

    @torch.no_grad()
    def at(t):
        for p, start, v in zip(free, here, way, strict=True):
            p.copy_(start + t * v)
        return float(encoder(x).pow(2).sum())

    h = 1e-6
    assert math.isclose((at(h) - at(-h)) / (2 * h), float(slope), rel_tol=1e-5, abs_tol=1e-7)


@few
@given(seed=seeds, depth=st.integers(1, 4))
def test_a_deep_linear_encoder_is_the_product_of_its_layers(seed, depth):
    widths = (4, *(3,) * (depth - 1), 2)
    encoder = DeepLinearEncoder(widths, draws=Stream(seed).draws(range(2)), name="x", dtype=F64)
    x = Stream(seed).draws(range(2)).normal("x", 5, 4)
    assert close(encoder(x), x @ encoder.product())
    assert len(list(encoder.parameters())) == depth


def test_scale_is_a_factor_a_layer_and_zero_is_a_saddle():
    def at(scale):
        return DeepLinearEncoder((4, 3, 2), draws=Stream(0).draws(), name="x", scale=scale, dtype=F64)

    x = Stream(1).draws().normal("x", 5, 4)
    assert close(at(0.1)(x), at(1.0)(x) * 0.01)
    still = at(0.0)
    grads = torch.autograd.grad(still(x).exp().sum(), list(still.parameters()))
    assert not any(g.any() for g in grads)


def test_two_linear_layers_learn_at_the_known_rate():
    """One unit, loss ½(w₂w₁ − s)², equal small starts: u = w₂w₁ follows u' = 2u(s − u), a logistic curve (Saxe et al. 2014)."""
    s, lr, steps = 1.5, 1e-3, 3000
    encoder = DeepLinearEncoder((1, 1, 1), draws=Stream(0).draws(), name="x", dtype=F64)
    a, b = encoder.parameters()
    with torch.no_grad():
        a.fill_(0.1)
        b.fill_(0.1)
    x = torch.ones(1, 1, dtype=F64)
    for _ in range(steps):
        ga, gb = torch.autograd.grad(0.5 * (encoder(x) - s).pow(2).sum(), [a, b])
        with torch.no_grad():
            a -= lr * ga
            b -= lr * gb
    grown = math.exp(2 * s * lr * steps)
    known = s * grown / (grown - 1 + s / 0.01)
    assert abs(float(encoder.product().detach()) - known) < 2e-3 * s


@few
@given(seed=seeds, h=st.integers(2, 7), w=st.integers(2, 7), stride=st.integers(1, 2))
def test_convolutions_are_those_of_torch(seed, h, w, stride):
    encoder = CNNEncoder((2, 3), 4, draws=Stream(seed).draws(range(3)), name="x", size=(h, w), stride=stride, dtype=F64)
    x = Stream(seed).draws(range(3)).normal("x", 5, 2, h, w)
    layer = encoder.convolutions[0]
    for r in range(3):
        grid = functional.conv2d(x[r], layer.weight[r], layer.bias[r], stride=stride, padding=1).relu()
        known = (grid.mean((-2, -1)) @ encoder.out.weight[r] + encoder.out.bias[r]).relu()
        assert close(encoder(x)[r], known)


@few
@given(seed=seeds)
def test_a_shift_inside_the_image_is_not_seen_by_a_stride_of_one(seed):
    encoder = CNNEncoder((1, 3), 4, draws=Stream(seed).draws(), name="x", size=(9, 9), stride=1, dtype=F64)
    x = torch.zeros(1, 1, 9, 9, dtype=F64)
    x[..., 2:4, 2:5] = Stream(seed).draws().normal("x", 2, 3)
    assert close(encoder(x.roll((3, 2), (-2, -1))), encoder(x))


@few
@given(seed=seeds, order=st.permutations(range(4)))
def test_without_positions_the_order_of_tokens_is_not_seen(seed, order):
    def at(positions):
        return TransformerEncoder(3, 4, 2, draws=Stream(seed).draws(), name="x", d=4, positions=positions, dtype=F64)

    x = Stream(seed).draws().normal("x", 5, 4, 3)
    assert close(at(False)(x[:, order]), at(False)(x))
    if list(order) != [0, 1, 2, 3]:
        assert not close(at(True)(x[:, order]), at(True)(x))


@few
@given(seed=seeds)
def test_attention_is_torchs_own(seed):
    encoder = TransformerEncoder(3, 4, 2, draws=Stream(seed).draws(), name="x", d=8, heads=2, dtype=F64)
    block = encoder.blocks[0]
    with torch.random.fork_rng():  # torch's own layer draws its start from the global generator
        twin = torch.nn.TransformerEncoderLayer(
            8, 2, 32, dropout=0.0, activation="gelu", batch_first=True, norm_first=True, dtype=F64
        )
    a = block.attention
    with torch.no_grad():
        twin.self_attn.in_proj_weight.copy_(torch.cat([p.weight.T for p in (a.query, a.key, a.value)]))
        twin.self_attn.in_proj_bias.copy_(torch.cat([p.bias for p in (a.query, a.key, a.value)]))
        for ours, theirs in (
            (a.out, twin.self_attn.out_proj),
            (block.wide, twin.linear1),
            (block.narrow, twin.linear2),
        ):
            theirs.weight.copy_(ours.weight.T)
            theirs.bias.copy_(ours.bias)
    x = Stream(seed).draws().normal("x", 5, 4, 8)
    assert close(block(x), twin(x), 1e-11)


def test_three_kinds_of_input_train_in_one_model():
    def build(draws):
        b = {
            "image": CNNEncoder((1, 4), 3, draws=draws, name="image", size=(6, 6), dtype=F64),
            "text": TransformerEncoder(4, 5, 3, draws=draws, name="text", d=4, dtype=F64),
            "table": DeepLinearEncoder((7, 3, 3), draws=draws, name="table", dtype=F64),
        }
        head = Concat(dict.fromkeys(b, 3), 2, draws=draws, dtype=F64)
        return MultimodalModel(b, head, batch_shape=draws.batch_shape)

    draws = Stream(5).draws(range(2))
    data = Batch(
        {"image": draws.normal("image", 24, 1, 6, 6), "text": draws.normal("text", 24, 5, 4), "table": draws.normal("table", 24, 7)},
        draws.integers("y", 2, 24),
    )  # fmt: skip
    kw = {"settings": Settings(epochs=4, batch_size=8, lr=0.1)}
    together = Trainer(build, Joint(), data, stream=Stream(1), replicates=range(2), **kw).run()
    for r in range(2):
        own = Batch({m: v[r] for m, v in data.x.items()}, data.y[r])
        alone = Trainer(build, Joint(), own, stream=Stream(1).child(r), **kw).run()
        assert close(together.flat.data[r], alone.flat.data, 1e-10)
    fresh = Trainer(build, Joint(), data, stream=Stream(1), replicates=range(2), **kw)
    assert bool((together.flat.data != fresh.flat.data).any(-1).all())


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda d: DeepLinearEncoder((3,), draws=d, name="x"), "two or more widths"),
        (lambda d: DeepLinearEncoder((3, 2), draws=d, name="x", scale=-1.0), "scale"),
        (lambda d: CNNEncoder((1,), 3, draws=d, name="x"), "channels"),
        (lambda d: CNNEncoder((1, 2), 3, draws=d, name="x", kernel=2), "odd kernel"),
        (lambda d: TransformerEncoder(3, 4, 2, draws=d, name="x", d=5, heads=2), "heads"),
        (lambda d: TransformerEncoder(3, 0, 2, draws=d, name="x"), "tokens"),
    ],
)
def test_bad_sizes_are_refused(make, word):
    with pytest.raises(ArgumentError, match=word):
        make(Stream(0).draws())
