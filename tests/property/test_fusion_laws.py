"""What holds of every fusion: stacking, names not positions, neutral forms, ownership, gradients, shares, absence."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import subsets
from mmtheory.methods import (
    METHODS,
    OGM,
    OPM,
    AuxiliaryHeads,
    LinearSplit,
    MeanBaseline,
    ShapleyShares,
    ZeroOut,
    default_contribution,
)
from mmtheory.models import FUSIONS, SHARED, MLPEncoder, MultimodalModel
from mmtheory.models.fusion import PROVIDERS, Bottleneck, CrossAttention, FiLM, LowRankTensor, ProductOfExperts
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

EVERY = sorted(FUSIONS)
INTERACTING = sorted(set(FUSIONS) - {"sum", "concat", "shared"})
F64 = torch.float64
NAMES = "abcdefgh"

seeds = st.integers(0, 2**32)
few = settings(max_examples=8)


@st.composite
def widths(draw, name, most=4):
    m = draw(st.integers(2, most))
    equal = draw(st.integers(1, 5))
    return {NAMES[i]: equal if name == "shared" else draw(st.integers(1, 5)) for i in range(m)}


def features(w, stream, n=5, replicates=None):
    draws = stream.child("features").draws(replicates)
    return {m: draws.normal(m, n, d) for m, d in w.items()}


def fusion(name, w, stream, replicates=None, **kw):
    return FUSIONS[name](w, 3, draws=stream.child("init").draws(replicates), dtype=F64, **kw)


def close(a, b, tolerance=1e-12):
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


def model_of(name, stream, absence="zero", replicates=None, names="abc"):
    draws = stream.child("model").draws(replicates)
    encoders = {m: MLPEncoder((4, 3), draws=draws, name=m, dtype=F64) for m in names}
    fused = FUSIONS[name](dict.fromkeys(names, 3), 3, draws=draws, dtype=F64)
    return MultimodalModel(encoders, fused, absence=absence, batch_shape=draws.batch_shape)


def inputs(stream, n=6, replicates=None, names="abc"):
    draws = stream.child("inputs").draws(replicates)
    return Batch({m: draws.normal(m, n, 4) for m in names}, draws.integers("y", 3, n))


@pytest.mark.parametrize("name", EVERY)
@few
@given(st.data(), seeds)
def test_stacked_equals_separate(name, data, seed):
    w, stream = data.draw(widths(name)), Stream(seed)
    stacked = fusion(name, w, stream, range(3))
    for r, own in enumerate(_separate(name, w, stream)):
        z = features(w, stream, replicates=range(3))
        assert close(stacked(z)[r], own({m: v[r] for m, v in z.items()}))


def _separate(name, w, stream):
    for r in range(3):
        draws = stream.child("init").child(r).draws()
        yield FUSIONS[name](w, 3, draws=draws, dtype=F64)


@pytest.mark.parametrize("name", EVERY)
@few
@given(st.data(), seeds)
def test_names_decide_and_not_positions(name, data, seed):
    w = data.draw(widths(name))
    order = data.draw(st.permutations(sorted(w)))
    f, z = fusion(name, w, Stream(seed)), features(w, Stream(seed))
    shuffled = {m: z[m] for m in order}
    assert close(f(shuffled), f(z))
    if name in {"concat", "gmu", "poe"}:
        return  # one matrix reads all features side by side; another order of its rows is another draw
    again = FUSIONS[name]({m: w[m] for m in order}, 3, draws=Stream(seed).child("init").draws(), dtype=F64)
    assert close(again(z), f(z))


@pytest.mark.parametrize("name", EVERY)
@few
@given(st.data(), seeds)
def test_a_sample_depends_on_no_other(name, data, seed):
    w = data.draw(widths(name))
    f, z = fusion(name, w, Stream(seed)), features(w, Stream(seed))
    assert close(f({m: v[1:3] for m, v in z.items()}), f(z)[1:3])


@pytest.mark.parametrize("name", EVERY)
@settings(max_examples=2)
@given(seed=seeds)
def test_gradient_is_that_of_finite_differences(name, seed):
    w = {"a": 2, "b": 2, "c": 2}
    f, z = fusion(name, w, Stream(seed)), features(w, Stream(seed), n=2)
    x = [z[m].requires_grad_() for m in w]
    assert gradcheck(lambda *v: f(dict(zip(w, v, strict=True))), x, fast_mode=True)
    free = list(f.parameters())
    here = [p.detach().clone() for p in free]
    way = [torch.sin(torch.arange(p.numel(), dtype=F64) + i).view(p.shape) for i, p in enumerate(free)]
    slope = sum((g * v).sum() for g, v in zip(torch.autograd.grad(f(z).pow(2).sum(), free), way, strict=True))

    @torch.no_grad()
    def at(t):
        for p, start, v in zip(free, here, way, strict=True):
            p.copy_(start + t * v)
        return float(f(z).pow(2).sum())

    h = 1e-5
    central = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
    assert math.isclose(central, float(slope), rel_tol=1e-6, abs_tol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_the_owners_divide_the_parameters(name):
    model = model_of(name, Stream(0), absence="token")
    owned = [id(p) for o in model.owners for p in model.owned(o)]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}
    inside = {id(p) for p in model.fusion.parameters()}
    shared = {id(p) for p in model.owned(SHARED)}
    assert shared <= inside
    assert (name in {"sum", "poe"}) == bool(inside - shared), "heads of one modality alone are that modality's"


@pytest.mark.parametrize("name", EVERY)
@few
@given(st.data(), seeds)
def test_zero_parameters_leave_the_stated_form(name, data, seed):
    w = data.draw(widths(name))
    f, z = fusion(name, w, Stream(seed)), features(w, Stream(seed))
    assert close(zeroed(f, NEUTRAL[name])(z), neutral_form(name, f, z))


NEUTRAL = {
    "sum": "heads.a", "concat": "head.bias", "shared": "head.bias", "film": "generators", "gated": "maps", "gmu": "gates",
    "lmf": "factors.a.weight", "cross-attention": "out.|narrow.", "mbt": "out.|narrow.", "poe": "joint",
}  # fmt: skip


@torch.no_grad()
def zeroed(f, part):
    for name, p in f.named_parameters():
        if any(piece in name for piece in part.split("|")) and not (
            part == "maps" and name.startswith(f"maps.{f.base}")
        ):
            p.zero_()
    return f


def neutral_form(name, f, z):
    if name == "sum":
        return sum(f.heads[m](z[m]) for m in f.widths if m != "a")
    if name == "concat":
        return torch.cat(list(z.values()), -1) @ f.head.weight
    if name == "shared":
        return sum(z.values()) @ f.head.weight / len(z)
    if name == "film":
        return f.head(z[f.base])
    if name == "gated":
        return f.head(f.maps[f.base](z[f.base]) / 2 ** (len(z) - 1))
    if name == "gmu":
        return f.head(sum(f.maps[m](v).tanh() for m, v in z.items()) / len(z))
    if name == "lmf":
        return f({**z, "a": torch.zeros_like(z["a"])})
    if name == "poe":
        return sum(f.experts[m](v) for m, v in z.items())
    mean = {m: f.lifts[m](v).unflatten(-1, (f.tokens, -1)).mean(-2) for m, v in z.items()}
    return sum(f.heads[m](v) for m, v in mean.items()) / len(z)


@given(seeds, st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
@few
def test_low_rank_fusion_is_a_contraction_of_the_whole_tensor(seed, da, db, rank):
    w = {"a": da, "b": db}
    f, z = LowRankTensor(w, 3, draws=Stream(seed).draws(), rank=rank, dtype=F64), features(w, Stream(seed))
    with_one = {m: torch.cat([v, v.new_ones(len(v), 1)], -1) for m, v in z.items()}
    blocks = {m: torch.cat([f.factors[m].weight, f.factors[m].bias[None]]).unflatten(-1, (rank, 3)) for m in w}
    whole = torch.einsum("irc,jrc,r->ijc", blocks["a"], blocks["b"], f.mix)
    expected = torch.einsum("ni,nj,ijc->nc", with_one["a"], with_one["b"], whole) + f.bias
    assert close(f(z), expected)


@given(seeds, st.integers(2, 4))
@few
def test_a_product_of_linear_experts_is_the_sum_fusion(seed, m):
    w = dict.fromkeys(NAMES[:m], 3)
    f, z = ProductOfExperts(w, 3, draws=Stream(seed).draws(), joint=0, dtype=F64), features(w, Stream(seed))
    product = torch.stack([f.experts[k](v).softmax(-1) for k, v in z.items()]).prod(0)
    assert close(f(z).softmax(-1), product / product.sum(-1, keepdim=True))
    assert f.additive
    assert not FUSIONS["poe"](w, 3, draws=Stream(seed).draws()).additive


@given(seeds)
@few
def test_one_layer_of_bottleneck_does_not_fuse(seed):
    w = {"a": 3, "b": 2}
    z = features(w, Stream(seed))
    jac = {}
    for layers in (1, 2):
        f = Bottleneck(w, 3, draws=Stream(seed).draws(), layers=layers, dtype=F64)
        apart = f(z) - f({**z, "a": z["a"] + 1})
        moved = {**z, "b": z["b"] - 1}
        jac[layers] = (apart - (f(moved) - f({**moved, "a": z["a"] + 1}))).abs().max()
    assert jac[1] < 1e-13
    assert jac[2] > 1e-9


@given(seeds, st.integers(2, 4))
@few
def test_copies_of_a_modality_meet_as_one(seed, m):
    """Bottleneck tokens and heads are means: M equal modalities with equal weights say what two of them say."""

    def said(names):
        f = Bottleneck(dict.fromkeys(names, 3), 3, draws=Stream(seed).draws(), layers=3, dtype=F64)
        first = dict(f.named_parameters())
        with torch.no_grad():
            for name, p in first.items():
                room, _, rest = name.partition(".")
                if rest:
                    p.copy_(first[f"{room}.a{rest[1:]}"])
        z = features({"a": 3}, Stream(seed))["a"]
        return f(dict.fromkeys(names, z))

    assert close(said(NAMES[:m]), said("ab"))


@given(seeds)
@few
def test_attention_to_one_token_is_linear_in_it(seed):
    """With one key its weight is one whatever the query: the query's and key's maps do not matter."""
    w = {"a": 3, "b": 2}
    z = features(w, Stream(seed))
    f = CrossAttention(w, 3, draws=Stream(seed).draws(), tokens=1, dtype=F64)
    before = f(z)
    with torch.no_grad():
        for name, p in f.named_parameters():
            if "query" in name or "key" in name:
                p.mul_(-3)
    assert close(f(z), before)


def test_parameters_are_counted_as_published():
    w = {"a": 512, "v": 512}
    published = {"sum": 6156, "concat": 6150, "shared": 3078, "film": 528390, "gated": 528390}
    for name, count in published.items():
        assert sum(p.numel() for p in FUSIONS[name](w, 6, draws=Stream(0).draws()).parameters()) == count
    unit = FUSIONS["gmu"](dict.fromkeys("ab", 5), 6, draws=Stream(0).draws(), width=7)
    assert sum(p.numel() for p in unit.parameters()) == 2 * (5 * 7 + 7) + (10 * 7 + 7) + 7 * 6 + 6
    lmf = LowRankTensor(dict.fromkeys("ab", 32), 64, draws=Stream(0).draws(), rank=4)
    assert sum(p.numel() for p in lmf.parameters()) == 4 * 64 * 2 * 33 + 4 + 64 == 16964
    cross = CrossAttention(dict.fromkeys("ab", 4), 2, draws=Stream(0).draws(), d=512)
    assert sum(p.numel() for p in cross.blocks["a 0"].parameters()) == 12 * 512**2 + 15 * 512
    mbt = Bottleneck(dict.fromkeys("ab", 4), 2, draws=Stream(0).draws(), d=512)
    assert sum(p.numel() for p in mbt.blocks["a 0"].parameters()) == 12 * 512**2 + 13 * 512 == 3152384


@given(seeds)
@few
def test_film_as_released_lets_nothing_through_before_it_has_learnt_to(seed):
    w = {"audio": 3, "visual": 2}
    f, z = FiLM(w, 3, draws=Stream(seed).draws(), form="released", dtype=F64), features(w, Stream(seed))
    assert f.base == "visual"
    assert close(zeroed(f, "generators")(z), f.head.bias)


@pytest.mark.parametrize("name", EVERY)
@few
@given(seed=seeds, m=st.integers(2, 4))
def test_shares_sum_to_the_logits(name, seed, m):
    model = model_of(name, Stream(seed), names=NAMES[:m])
    z = {k: v.detach() for k, v in model.encode(inputs(Stream(seed), names=NAMES[:m]).x).items()}
    whole = model.fusion(z)
    empty = model.fuse(z, frozenset())
    assert close(sum(ShapleyShares().logits(model, z).values()), whole - empty, 1e-11)
    if model.fusion.additive:
        split = LinearSplit().logits(model, z)
        assert close(sum(split.values()), whole)
        blank = LinearSplit().logits(model, {k: torch.zeros_like(v) for k, v in z.items()})
        shapley = ShapleyShares("zero").logits(model, z)
        assert all(close(shapley[k], split[k] - blank[k], 1e-11) for k in z), (
            "additive: Shapley is the split without biases"
        )
        mean = MeanBaseline().logits(model, z)
        offset = {k: mean[k] - split[k] for k in z}
        assert all(close(v, v[:1].expand_as(v), 1e-11) for v in offset.values())
    else:
        assert model.fusion.parts(z) is None


@pytest.mark.parametrize("name", EVERY)
@few
@given(seed=seeds)
def test_the_mean_stands_in_for_what_does_not_vary(name, seed):
    model = model_of(name, Stream(seed))
    z = {k: v.detach() for k, v in model.encode(inputs(Stream(seed)).x).items()}
    still = {k: v if k == "a" else v[:1].expand_as(v) for k, v in z.items()}
    assert close(MeanBaseline().logits(model, still)["a"], model.fusion(still))
    middle = {k: v if k == "a" else v.mean(0, keepdim=True).expand_as(v) for k, v in z.items()}
    assert close(MeanBaseline().logits(model, z)["a"], model.fusion(middle))


@pytest.mark.parametrize("name", EVERY)
@few
@given(seed=seeds)
def test_zero_out_hears_one_modality(name, seed):
    model = model_of(name, Stream(seed))
    z = {k: v.detach() for k, v in model.encode(inputs(Stream(seed)).x).items()}
    for provider in (ZeroOut(), AuxiliaryHeads()):
        provider.auxiliary(model, Stream(seed).draws())
        alone = provider.logits(model, z)
        other = provider.logits(model, {**z, "b": z["b"] * 3 - 1})
        assert torch.equal(alone["a"], other["a"])
        assert not torch.equal(alone["b"], other["b"]) or bool((z["b"] * 3 - 1 == z["b"]).all())


@pytest.mark.parametrize("name", EVERY)
def test_what_a_fusion_admits_serves_and_what_it_refuses_is_refused_at_bind(name):
    data, made = inputs(Stream(1)), {
        "linear split": LinearSplit, "zero out": ZeroOut, "mean baseline": MeanBaseline,
        "shapley": ShapleyShares, "auxiliary heads": AuxiliaryHeads,
    }  # fmt: skip
    assert set(made) == set(PROVIDERS)
    for provider, cls in made.items():
        for method in (OGM(0.5, contribution=cls()), OPM(0.5, contribution=cls())):
            kw = {"settings": Settings(epochs=1, batch_size=3), "stream": Stream(2)}
            if provider in FUSIONS[name]({"a": 3, "b": 3}, 3, draws=Stream(0).draws()).admits:
                trained = Trainer(lambda _: model_of(name, Stream(0)), method, data, **kw).run()
                assert bool(trained.flat.data.isfinite().all())
            else:
                with pytest.raises(
                    ArgumentError, match=f"{method.card.name}: .*not a sum.*admits zero out, mean baseline, shapley"
                ):
                    Trainer(lambda _: model_of(name, Stream(0)), method, data, **kw)


def test_heads_that_a_method_does_not_pass_on_are_refused():
    heads, model = AuxiliaryHeads(), model_of("sum", Stream(0))
    assert "pass" in heads.refuse(model)
    heads.auxiliary(model, Stream(0).draws())
    assert heads.refuse(model) == ""


def test_auxiliary_heads_move_no_encoder():
    data, kw = inputs(Stream(1), n=12), {"settings": Settings(epochs=3, batch_size=4), "stream": Stream(2)}
    joint = Trainer(lambda _: model_of("film", Stream(0)), METHODS["joint"](), data, **kw).run()
    beside = Trainer(lambda _: model_of("film", Stream(0)), OGM(0.0, contribution=AuxiliaryHeads()), data, **kw).run()
    assert torch.equal(joint.flat.data, beside.flat.data[: joint.flat.data.shape[-1]])
    heads = Trainer(lambda _: model_of("film", Stream(0)), OGM(0.0, contribution=AuxiliaryHeads()), data, **kw)
    assert not torch.equal(heads.flat.data[joint.flat.data.shape[-1] :], beside.flat.data[joint.flat.data.shape[-1] :])


def test_the_default_is_the_split_where_there_is_one():
    for name in EVERY:
        expected = LinearSplit if name in {"sum", "concat", "shared"} else ZeroOut
        assert type(default_contribution(model_of(name, Stream(0)))) is expected


@pytest.mark.parametrize("absence", ["zero", "mean", "token"])
@pytest.mark.parametrize("name", EVERY)
def test_the_absent_have_no_say(name, absence):
    model = model_of(name, Stream(3), absence=absence, replicates=range(2))
    data = inputs(Stream(3), replicates=range(2))
    model.observe(model.encode(data.x))
    present = {"b": torch.arange(6).expand(2, 6) % 2 == 0}
    here = model(data.x, None, present).logits
    x = {**data.x, "b": torch.where(present["b"].unsqueeze(-1), data.x["b"], 1e3)}
    assert torch.equal(model(x, None, present).logits, here)
    everybody = model(data.x).logits
    assert torch.equal(here[:, ::2], everybody[:, ::2])
    without = model(data.x, frozenset("ac")).logits
    assert close(here[:, 1::2], without[:, 1::2])
    assert model(data.x, frozenset("ac")).features.keys() == {"a", "c"}


def test_stand_ins_are_what_their_policy_says():
    data = inputs(Stream(3))
    zero, mean, token = (model_of("film", Stream(3), absence=a) for a in ("zero", "mean", "token"))
    assert not zero.stand_in("a").any()
    z = mean.encode(data.x)
    for _ in range(200):
        mean.observe(z)
    assert close(mean.stand_in("a"), z["a"].mean(-2), 1e-8)
    loss = token(data.x, frozenset("ab")).logits.sum()
    (g,) = torch.autograd.grad(loss, [token.stand_in("c")])
    assert g.abs().max() > 0
    assert any(p is token.stand_in("c") for p in token.owned("c"))
    nobody = {"a": torch.zeros(6, dtype=torch.bool)}
    before = mean.stand_in("a").clone()
    mean.observe({"a": z["a"] + 1e6}, nobody)
    assert torch.equal(mean.stand_in("a"), before), "samples that are not there do not move the mean"


def test_training_moves_the_mean_and_carries_it_through_a_checkpoint():
    data, kw = inputs(Stream(1), n=12), {"settings": Settings(epochs=4, batch_size=4), "stream": Stream(2)}

    def trainer():
        return Trainer(lambda _: model_of("gmu", Stream(0), absence="mean"), METHODS["joint"](), data, **kw)

    straight = trainer().run()
    assert straight.model.stand_in("a").abs().max() > 0
    first = trainer().run(2)
    second = trainer()
    second.load_state_dict(first.state_dict())
    second.run()
    assert torch.equal(second.model.stand_in("a"), straight.model.stand_in("a"))
    assert torch.equal(second.flat.data, straight.flat.data)


@pytest.mark.parametrize("name", INTERACTING)
def test_one_modality_cannot_be_fused(name):
    with pytest.raises(ArgumentError, match="at least two modalities"):
        FUSIONS[name]({"a": 3}, 3, draws=Stream(0).draws())


def test_bad_settings_are_refused():
    w = {"a": 4, "b": 4}
    for attempt, word in (
        (lambda d: FiLM(w, 3, draws=d, base="c"), "base"),
        (lambda d: FiLM(w, 3, draws=d, form="other"), "form"),
        (lambda d: LowRankTensor(w, 3, draws=d, rank=0), "rank"),
        (lambda d: CrossAttention(w, 3, draws=d, d=9, heads=2), "heads"),
        (lambda d: CrossAttention(w, 3, draws=d, tokens=0), "tokens"),
        (lambda d: Bottleneck(w, 3, draws=d, bottlenecks=0), "shared token"),
        (lambda d: FUSIONS["shared"]({"a": 4, "b": 3}, 3, draws=d), "expected features"),
    ):
        with pytest.raises(ArgumentError, match=word):
            attempt(Stream(0).draws())
    with pytest.raises(ArgumentError, match="baseline"):
        ShapleyShares("nothing")


@pytest.mark.parametrize("name", EVERY)
def test_eight_modalities(name):
    w = dict.fromkeys(NAMES, 3)
    f, z = fusion(name, w, Stream(0)), features(w, Stream(0))
    assert f(z).shape == (5, 3)
    assert bool(f(z).isfinite().all())


def test_every_subset_is_heard():
    model, data = model_of("sum", Stream(0)), inputs(Stream(0))
    for s in subsets("abc"):
        assert set(model(data.x, s).features) == s
