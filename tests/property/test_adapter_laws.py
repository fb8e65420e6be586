"""Laws of low-rank adapters and of MMLoRA: where it starts, what stays, what each rank can reach, what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import UME, Chain, MMLoRA, Pretrained, Unimodal
from mmtheory.models import (
    FUSIONS,
    Adapted,
    CNNEncoder,
    DeepLinearEncoder,
    LowRank,
    MLPEncoder,
    MultimodalModel,
    TransformerEncoder,
    frozen,
)
from mmtheory.models.adapters import matrices
from mmtheory.rng import Stream
from mmtheory.testing import check_method
from mmtheory.training import Settings, Trainer

F64 = torch.float64
CONFIG = Settings(epochs=3, batch_size=10, lr=0.05)
ENCODERS = {
    "mlp": lambda d: MLPEncoder((5, 6, 4), draws=d, name="e", dtype=F64),
    "deep-linear": lambda d: DeepLinearEncoder((5, 3, 4), draws=d, name="e", dtype=F64),
    "cnn": lambda d: CNNEncoder((2, 3, 4), 4, draws=d, name="e", size=(6, 6), dtype=F64),
    "transformer": lambda d: TransformerEncoder(5, 3, 4, draws=d, name="e", d=8, layers=2, dtype=F64),
}


def build(names="ab", fusion="sum"):
    def made(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=F64) for m in names}
        head = FUSIONS[fusion](dict.fromkeys(names, 5), 3, draws=draws, dtype=F64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return made


def data(names="ab", seed=3, replicates=2):
    draws = Stream(seed).draws(None if replicates is None else range(replicates))
    y = draws.integers("y", 3, 24)
    return Batch({m: draws.normal(m, 24, 4) + torch.nn.functional.one_hot(y, 4) for m in names}, y)


def trainer(method, names="ab", replicates=2, seed=3, config=CONFIG):
    rows = None if replicates is None else range(replicates)
    return Trainer(build(names), method, data(names, seed, replicates), settings=config, stream=Stream(1), replicates=rows)  # fmt: skip


def inputs(encoder, draws, n=6):
    return draws.normal("x", n, *encoder.shape)


@pytest.mark.parametrize("names", ["ab", "abc", "abcdefgh"])
@pytest.mark.parametrize("replicates", [None, 3])
def test_rank_zero_is_the_unimodal_ensemble_bit_for_bit(names, replicates):
    ume, none = trainer(UME(), names, replicates).run(), trainer(MMLoRA(0), names, replicates).run()
    assert torch.equal(ume.predict(ume.train_data), none.predict(none.train_data))


@pytest.mark.parametrize("rank", [1, 4])
def test_every_rank_starts_as_the_ensemble_and_leaves_it(rank):
    ume = trainer(UME()).run()
    still, moving = trainer(MMLoRA(rank), config=Settings(3, 10, lr=0.05)), trainer(MMLoRA(rank)).run()
    still.method.phases = lambda _epoch, _index: ()
    still.run()
    assert torch.equal(ume.predict(ume.train_data), still.predict(still.train_data))
    assert (ume.predict(ume.train_data) - moving.predict(moving.train_data)).abs().max() > 1e-3


def test_frozen_weights_are_those_of_the_unimodal_training_and_have_no_gradient():
    ume, found = trainer(UME()).run(), trainer(MMLoRA(2)).run()
    frozen_bytes = 0
    for name, p in ume.model.encoders.named_parameters():
        m, _, rest = name.partition(".")
        kept = found.model.encoders[m].inner.get_buffer(rest)
        assert torch.equal(kept, p)
        assert not kept.requires_grad
        assert kept.grad is None
        frozen_bytes += kept.numel()
    adapters = sum(2 * (6 + 4) + 2 * (6 + 5) for _ in "ab")
    heads, fusion = (2 * 3 * (5 + 1) for _ in range(2))
    assert found.flat.data.shape == (2, adapters + heads + fusion)
    assert frozen_bytes == 2 * 2 * (4 * 6 + 6 + 6 * 5 + 5)
    assert {"a", "b", "head:a", "head:b"} <= set(found.flat.columns)


def test_one_modality_alone_may_have_adapters():
    found = trainer(MMLoRA(2, modality="a")).run()
    widths = {o: c.stop - c.start for o, c in found.flat.columns.items()}
    head = 3 * (5 + 1)  # of the fusion, which is not trained
    assert widths == {"a": 2 * (6 + 4) + 2 * (6 + 5) + head, "b": head, "head:a": head, "head:b": head}
    with pytest.raises(ArgumentError, match=r"a modality among a, b, found 'c'"):
        trainer(MMLoRA(2, modality="c"))


@pytest.mark.parametrize("kind", sorted(ENCODERS))
@given(seed=st.integers(0, 2**30))
def test_an_adapted_encoder_is_the_encoder_with_moved_weights(kind, seed):
    stream = Stream(seed)
    draws = stream.child("adapters").draws(range(2))
    plain = ENCODERS[kind](stream.child("encoder").draws(range(2)))
    x = inputs(plain, stream.child("x").draws(range(2)))
    before = plain(x)
    adapted = Adapted(ENCODERS[kind](stream.child("encoder").draws(range(2))), 2, draws=draws, name="e", scale=0.7)
    assert torch.equal(adapted(x), before)
    names = {m.name: m for m in matrices(plain, 1)}
    assert set(adapted.weights()) == set(names)
    with torch.no_grad():
        for i, part in enumerate(adapted.updates.values()):
            part.up.copy_(stream.child("up", i).draws(range(2)).normal("up", *part.up.shape[1:]))
        for name, weight in dict(plain.named_parameters()).items():
            if name in names:
                key = name.replace(".", "/")
                a, b = adapted.updates[key].down, adapted.updates[key].up
                delta = 0.7 * torch.einsum("bir,bro->bio", a, b)
                assert torch.linalg.matrix_rank(delta).max() <= 2
                weight.add_((delta.mT if names[name].rows else delta).reshape(weight.shape))
    assert torch.allclose(adapted(x), plain(x), atol=1e-10)
    assert (adapted(x) - before).abs().max() > 0


@given(st.integers(0, 2**30), st.integers(1, 5), st.integers(1, 5))
def test_full_rank_reaches_every_change(seed, d_in, d_out):
    draws = Stream(seed).draws()
    rank = min(d_in, d_out)
    part = LowRank(d_in, d_out, rank, draws=draws, name="w", scale=0.5, dtype=F64)
    wanted = draws.normal("wanted", d_in, d_out)
    u, s, v = torch.linalg.svd(wanted, full_matrices=False)
    with torch.no_grad():
        part.down.copy_(u * s)
        part.up.copy_(2 * v)
    x = draws.normal("x", 3, d_in)
    assert torch.allclose(part.update(), wanted, atol=1e-10)
    assert torch.allclose(part(x), x @ wanted, atol=1e-9)


def test_the_method_keeps_its_contract():
    check_method(MMLoRA(2))
    check_method(MMLoRA(1, alpha=4.0, pretrain=1))
    assert Chain(MMLoRA(2)).names == ("mmlora",)


def test_parts_trained_before_are_parts_trained_within():
    teacher = trainer(Unimodal()).run()
    parts = Pretrained.of(teacher.model, teacher.auxiliary, teacher.train_data)
    within, given_parts = trainer(MMLoRA(2)).run(), trainer(MMLoRA(2, pretrained=parts)).run()
    assert torch.equal(within.flat.data, given_parts.flat.data)
    assert torch.equal(within.predict(within.train_data), given_parts.predict(within.train_data))
    with pytest.raises(ArgumentError, match=r"pre-trained on this training data \(\w+\), found parts of other data"):
        trainer(MMLoRA(2, pretrained=parts), seed=4).run()


def test_parts_that_do_not_fit_are_refused():
    teacher = trainer(Unimodal()).run(1)
    parts = Pretrained.of(teacher.model, teacher.auxiliary, teacher.train_data)
    fewer = Pretrained({"a": parts.encoders["a"]}, parts.heads, parts.data)
    with pytest.raises(ArgumentError, match="a pre-trained encoder of every modality, found none of b"):
        trainer(MMLoRA(2, pretrained=fewer))
    headless = Pretrained(parts.encoders, {"b": parts.heads["b"]}, parts.data)
    with pytest.raises(ArgumentError, match="a pre-trained head of every modality, found none of a"):
        trainer(MMLoRA(2, pretrained=headless))
    other = {**parts.encoders, "b": {**parts.encoders["b"], "layers.0": torch.zeros(2, 7, 6)}}
    with pytest.raises(ArgumentError, match=r"encoder of b like the model's, layers\.0 \(2, 4, 6\), found \(2, 7, 6\)"):
        trainer(MMLoRA(2, pretrained=Pretrained(other, parts.heads, parts.data)))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: MMLoRA(-1), "rank and pretrain >= 0"),
        (lambda: MMLoRA(alpha=0.0), "alpha > 0"),
        (lambda: trainer(MMLoRA(5)), r"a rank from 1 to 4, what a layer of 4 × 6 can have, found 1 and 5"),
        (lambda: LowRank(3, 2, 0, draws=Stream(0).draws(), name="w"), "a rank from 1 to 2"),
        (lambda: LowRank(3, 2, 1, draws=Stream(0).draws(), name="w", scale=0.0), "scale > 0"),
        (lambda: Adapted(MLPEncoder((2, 2), draws=Stream(0).draws(), name="e"), -1, draws=Stream(1).draws(), name="e"), "at least 0, found -1"),
        (lambda: Adapted(frozen(MLPEncoder((2, 2), draws=Stream(0).draws(), name="e")), 3, draws=Stream(1).draws(), name="e"), "from 1 to 2"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(make, reason):
    with pytest.raises(ArgumentError, match=reason):
        make()
