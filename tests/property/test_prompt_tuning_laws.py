"""Laws of deep prompts and of M2PT: what stays frozen and costs nothing, what one layer of prompts leaves as it is, what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import M2PT, Joint
from mmtheory.models import (
    FUSIONS,
    DeepPrompts,
    MLPEncoder,
    MultimodalModel,
    TokenEncoder,
    TransformerEncoder,
    prompt_tuning_size,
    prompted_attention,
)
from mmtheory.models.prompts import through
from mmtheory.rng import Stream
from mmtheory.testing import check_method, check_model
from mmtheory.training import Settings, Trainer

F64 = torch.float64
CONFIG = Settings(epochs=2, batch_size=8, optimiser="adam", lr=0.01)


def build(draws, layers=2, kind="transformer", d=8):
    if kind == "mlp":
        encoders = {m: MLPEncoder((5, 6), draws=draws, name=m, dtype=F64) for m in ("picture", "words")}
    else:
        encoders = {
            m: TransformerEncoder(5, t, 6, draws=draws, name=m, d=d, layers=layers, dtype=F64)
            for m, t in (("picture", 4), ("words", 3))
        }
    head = FUSIONS["sum"](dict.fromkeys(encoders, 6), 3, draws=draws, dtype=F64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def data(kind="transformer", replicates=2, n=20):
    draws = Stream(3).draws(None if replicates is None else range(replicates))
    shapes = {"picture": (4, 5), "words": (3, 5)} if kind == "transformer" else {"picture": (5,), "words": (5,)}
    return Batch({m: draws.normal(m, n, *s) for m, s in shapes.items()}, draws.integers("y", 3, n))


def trainer(method, kind="transformer", replicates=2, config=CONFIG, **sizes):
    rows = None if replicates is None else range(replicates)
    return Trainer(lambda d: build(d, kind=kind, **sizes), method, data(kind, replicates), settings=config, stream=Stream(1), replicates=rows)  # fmt: skip


def small(**changes):
    return M2PT(2, 3, width=12, layers=2, heads=2, **changes)


@pytest.mark.parametrize("kind", ["transformer", "mlp"])
def test_frozen_weights_stay_and_cost_neither_gradient_nor_optimiser_memory(kind):
    run = trainer(small(pretrain=1), kind)
    run.run(1)
    before = {k: v.clone() for k, v in run.model.named_buffers()}
    run.run(2)
    assert all(torch.equal(v, before[k]) for k, v in run.model.named_buffers())
    assert all(v.grad is None and not v.requires_grad for v in run.model.buffers())
    layers, d = (2, 8) if kind == "transformer" else (1, 6)
    trained = prompt_tuning_size((layers, d), (2, 12), 2, 3) + 12 * 3 + 3
    state = run.optimiser.state_dict()
    assert run.flat.data.shape == state["mean"].shape == state["square"].shape == (2, trained)
    kept = sum(v.numel() for v in run.model.buffers()) // 2
    assert kept > 3 * trained
    # What autograd keeps for the backward pass is activations and the buffers themselves, never a copy of one, nor a gradient's place.
    places = {v.untyped_storage().data_ptr() for v in (*run.model.buffers(), run.flat.data)}
    shapes = {tuple(v.shape) for v in run.model.buffers() if v.ndim == 3 and min(v.shape[1:]) > 4}
    copies = []

    def seen(saved):
        if tuple(saved.shape) in shapes and saved.untyped_storage().data_ptr() not in places:
            copies.append(tuple(saved.shape))
        return saved

    with torch.autograd.graph.saved_tensors_hooks(seen, lambda saved: saved):
        loss = run.model(run.train_data.x).logits.square().sum()
    gradients = torch.autograd.grad(loss, run.flat.parameters)
    assert sum(g.numel() * g.element_size() for g in gradients) == 2 * trained * 8
    assert not copies


def test_prompts_interaction_and_head_are_trained_and_nothing_else():
    run = trainer(small()).run()
    names = {name for name, _ in run.model.named_parameters()}
    assert names == {
        "encoders.picture.prompts.values", "fusion.prompts.values", "fusion.head.weight", "fusion.head.bias",
        "fusion.interaction.picture.weight", "fusion.interaction.picture.bias",
    }  # fmt: skip
    assert {o: sorted(n.split(".")[-1] for n, p, q in run.model._ownership() if q == o) for o in ("picture", "words")} == {
        "picture": ["bias", "values", "weight"], "words": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("without", "gone"),
    [("visual", "encoders.picture.prompts"), ("textual", "fusion.prompts"), ("interaction", "fusion.interaction")],
)
def test_an_ablation_takes_one_part_away(without, gone):
    whole, run = trainer(small()), trainer(small(without=without)).run()
    lost = {n for n, _ in whole.model.named_parameters()} - {n for n, _ in run.model.named_parameters()}
    assert lost
    assert all(n.startswith(gone) for n in lost)
    assert run.predict(run.train_data).isfinite().all()


def plain_reading(blocks, prompts, x, mode):
    """Layer by layer with the prompts' own loop."""
    h = x
    for i, block in enumerate(blocks):
        own = prompts.values[..., i, :, :].unsqueeze(-3).expand(*x.shape[:-2], -1, -1)
        content = h if i == 0 or mode == "concat" else h[..., prompts.length :, :]
        h = block(torch.cat([own, content], -2))
    return h


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**30), layers=st.integers(1, 3), length=st.integers(1, 3), mode=st.sampled_from(["overwrite", "concat"]))  # fmt: skip
def test_prompts_are_overwritten_between_layers(seed, layers, length, mode):
    stream = Stream(seed)
    encoder = TransformerEncoder(
        3, 4, 2, draws=stream.child("e").draws(range(2)), name="e", d=4, layers=layers, dtype=F64
    )
    prompts = DeepPrompts(layers, length, 4, draws=stream.child("p").draws(range(2)), name="p", dtype=F64)
    x = stream.child("x").draws(range(2)).normal("x", 5, 4, 4)
    found = through(encoder.blocks, x, prompts, mode=mode)
    assert torch.allclose(found, plain_reading(encoder.blocks, prompts, x, mode), atol=1e-12)
    content = through(encoder.blocks, x, prompts, mode=mode, passing="none")
    assert torch.equal(content, found[..., -4:, :])
    raw = through(encoder.blocks, x, prompts, mode=mode, passing="raw_last")
    last = prompts.values[..., layers - 1, :, :].unsqueeze(-3).expand(2, 5, -1, -1)
    assert torch.equal(raw[..., :length, :], last)
    bound = (6 / (length * 4 + 4)) ** 0.5
    assert prompts.values.abs().max() <= bound


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**30), length=st.integers(1, 4))
def test_the_ratios_of_content_attention_in_the_first_layer_are_invariant(seed, length):
    """Over the real encoder: its own norms, heads and projections; in the second layer the ratios do change."""
    stream = Stream(seed)
    encoder = TransformerEncoder(3, 4, 2, draws=stream.child("e").draws(), name="e", d=8, heads=2, layers=2, dtype=F64)
    prompts = DeepPrompts(2, length, 8, draws=stream.child("p").draws(), name="p", dtype=F64)
    content = encoder.lifted(stream.child("x").draws().normal("x", 5, 4, 3))

    def attention(block, h):
        own = block.before(h)
        q, k, v = (block.attention._split(getattr(block.attention, part), own) for part in ("query", "key", "value"))
        return (q @ k.mT / q.shape[-1] ** 0.5).log_softmax(-1), q, k, v

    def gap(weights, bare):
        kept = weights[..., length:, length:]
        return ((kept - kept[..., :1]) - (bare - bare[..., :1])).abs().max()

    first, second = encoder.blocks
    both = torch.cat([prompts.before(0, content), content], -2)
    weights, q, k, v = attention(first, both)
    bare = attention(first, content)[0]
    assert gap(weights, bare) <= 1e-10
    parts = prompted_attention(q[..., length:, :], k[..., length:, :], v[..., length:, :], k[..., :length, :], v[..., :length, :])  # fmt: skip
    assert torch.allclose((weights.exp() @ v)[..., length:, :], parts.output, atol=1e-12)
    moved = torch.cat([prompts.before(1, content), first(both)[..., length:, :]], -2)
    assert gap(attention(second, moved)[0], attention(second, first(content))[0]) > 1e-6


@pytest.mark.parametrize("kind", ["transformer", "mlp"])
def test_the_pair_is_a_model(kind):
    def pair(draws):
        return small().remodel(build(draws, kind=kind), draws.__class__(draws.streams, draws.batch_shape, draws.device))

    check_model(pair)


def test_the_method_keeps_its_contract():
    check_method(M2PT(1, 1, width=4, layers=1, heads=1), fusions=("sum",))


def test_a_pair_trained_before_is_taken_over():
    method = small()
    teacher = Trainer(
        lambda d: method.pair(build(d), d.__class__(d.streams, d.batch_shape, d.device), tuned=False), Joint(), data(),
        settings=CONFIG, stream=Stream(5), replicates=range(2),
    ).run()  # fmt: skip
    run = trainer(small(pretrained=teacher.model)).run()
    for k, v in run.model.fusion.own.named_buffers():
        assert torch.equal(v, dict(teacher.model.fusion.own.named_parameters())[k])
    for k, v in run.model.encoders["picture"].inner.named_buffers():
        assert torch.equal(v, dict(teacher.model.encoders["picture"].inner.named_parameters())[k])
    with pytest.raises(
        ArgumentError, match=r"picture\.blocks\.0\.attention\.key\.bias of the pair to be \(2, 16\), found \(2, 8\)"
    ):
        trainer(small(pretrained=teacher.model, language="words"), d=16)
    with pytest.raises(ArgumentError, match="with language picture, found picture, words with words"):
        trainer(small(pretrained=teacher.model, language="picture"))
    with pytest.raises(ArgumentError, match="a pair with a reader, found Sum"):
        trainer(small(pretrained=build(Stream(0).draws(range(2)))))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: M2PT(0, 4), "prompt lengths, width, layers, heads >= 1"),
        (lambda: M2PT(4, 0), "prompt lengths"),
        (lambda: M2PT(width=10, heads=4), "heads that divide the width"),
        (lambda: M2PT(mode="append"), "mode among overwrite, concat, found 'append'"),
        (lambda: M2PT(passing="all"), "passing among"),
        (lambda: M2PT(without="head"), "without among"),
        (lambda: trainer(M2PT(language="sound")), "a language among two or more modalities, found 'sound'"),
        (lambda: trainer(M2PT(passing="none"), "mlp"), "layers that read them, found none"),
        (lambda: DeepPrompts(2, 0, 4, draws=Stream(0).draws(), name="p"), "a length and a width of at least 1"),
    ],
)
def test_what_has_no_meaning_is_refused(make, reason):
    with pytest.raises(ArgumentError, match=reason):
        make()


def test_tokens_of_another_width_are_refused():
    model = small().remodel(build(Stream(0).draws()), Stream(1).draws())
    x = {m: v[0] for m, v in data().x.items()}
    features = model.encode(x)
    with pytest.raises(ArgumentError, match="tokens side by side of widths"):
        model.fuse({**features, "picture": features["picture"][..., :-1]})
    assert isinstance(model.encoders["picture"], TokenEncoder)
