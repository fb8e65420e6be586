"""Laws of the methods that join gradient rows: they are the weightings of mmtheory.moo, encoder by encoder."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import MIMO, Combined, MMPareto, NGDiff, Uniform
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.moo import EPO, STCH, WEIGHTINGS, moo_backward
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

ORDER, R, N = "abc", 2, 12
NARROW = ("mmpareto", "linear")  # the first takes two objectives only, the second has no default preference


def builder(draws):
    encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in ORDER}
    head = FUSIONS["film"](dict.fromkeys(ORDER, 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def data(seed):
    draws = Stream(seed).child("data").draws(range(R))
    return Batch({m: draws.normal(m, N, 4) for m in ORDER}, draws.integers("y", 3, N))


def trainer(method, seed):
    config = Settings(epochs=1, batch_size=N, lr=1.0, weight_decay=0.0, momentum=0.0)
    return Trainer(builder, method, data(seed), settings=config, stream=Stream(seed), replicates=range(R))


def moved(method, seed):
    """Model and minus its first step, by owner."""
    t = trainer(method, seed)
    before = t.flat.data.clone()
    t.run()
    return t, {o: (before - t.flat.data)[..., c] for o, c in t.flat.columns.items()}


def losses_and_blocks(seed):
    t = trainer(MIMO(), seed)  # the same heads, untouched
    batch = data(seed)
    features = t.model.encode(batch.x)

    def mean(logits):
        return cross_entropy(logits.mT, batch.y, reduction="none").mean(-1)

    losses = {"fused": mean(t.model.fusion(features))}
    losses |= {m: mean(t.auxiliary[f"head:{m}"](features[m])) for m in ORDER}
    blocks = {m: list(t.model.owned(m)) for m in ORDER}
    blocks["rest"] = [*t.model.owned("shared"), *t.auxiliary.parameters()]
    return losses, blocks


def flat(parameters):
    return torch.cat([p.grad.reshape(R, -1) for p in parameters], -1)


def weighting_of(name, m):
    return WEIGHTINGS[name](signs=(1,) * m) if name == "ngdiff" else WEIGHTINGS[name]()


@pytest.mark.parametrize("name", sorted(WEIGHTINGS))
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_each_encoder_gets_what_moo_backward_gives_its_block(name, seed):
    weighting = WEIGHTINGS["linear"]((0.3, 0.7)) if name == "linear" else weighting_of(name, 2)
    _, step = moved(Combined(weighting), seed)
    for m in ORDER:
        losses, blocks = losses_and_blocks(seed)
        pair = {"fused": losses["fused"], m: losses[m]}
        moo_backward(pair, blocks, weighting, scope="block")
        assert (step[m] - flat(blocks[m])).abs().max() <= 1e-9 * (1 + step[m].abs().max())


@pytest.mark.parametrize("name", sorted(set(WEIGHTINGS) - set(NARROW)))
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_one_solve_for_all_encoders_is_moo_backward_over_what_is_shared(name, seed):
    weighting = weighting_of(name, len(ORDER) + 1)
    _, step = moved(Combined(weighting, scope="joint"), seed)
    losses, blocks = losses_and_blocks(seed)
    encoders = {m: blocks[m] for m in ORDER} | {"rest": blocks["rest"]}
    moo_backward(losses, encoders, weighting, scope="shared", mask={"rest": ["fused"]})
    for m in ORDER:
        assert (step[m] - flat(blocks[m])).abs().max() <= 1e-8 * (1 + step[m].abs().max())


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_weightings_that_look_at_losses_see_this_steps(seed):
    losses, blocks = losses_and_blocks(seed)
    stacked = torch.stack([losses[k].detach() for k in ("fused", *ORDER)], -1)
    rows = {k: torch.autograd.grad(losses[k].sum(), blocks["a"], retain_graph=True) for k in ("fused", "a")}
    flat_rows = [torch.cat([g.reshape(R, -1) for g in row], -1) for row in rows.values()]
    w = STCH(mu=0.5).weights(stacked)
    _, step = moved(Combined(STCH(mu=0.5), scope="joint"), seed)
    assert (step["a"] - w[:, :1] * flat_rows[0] - w[:, 1:2] * flat_rows[1]).abs().max() <= 1e-10
    epo = EPO(preference=(1.0, 2.0))
    J = torch.stack(flat_rows, -2)
    w = epo.weights(J @ J.mT, stacked[:, :2])
    _, step = moved(Combined(epo), seed)
    assert (step["a"] - (w.unsqueeze(-1) * J).sum(-2)).abs().max() <= 1e-9


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), gamma=st.floats(0.5, 3.0))
def test_mmpareto_descends_on_both_and_is_gamma_times_the_sum_where_they_agree(seed, gamma):
    losses, blocks = losses_and_blocks(seed)
    _, step = moved(MMPareto(gamma), seed)
    _, plain = moved(Uniform(), seed)
    for m in ORDER:
        rows = [
            torch.cat(
                [g.reshape(R, -1) for g in torch.autograd.grad(losses[k].sum(), blocks[m], retain_graph=True)], -1
            )
            for k in ("fused", m)
        ]
        slopes = torch.stack([(row * step[m]).sum(-1) for row in rows])
        assert (slopes >= -1e-9).all()
        agree = (rows[0] * rows[1]).sum(-1) > 0
        assert (step[m] - gamma * plain[m])[agree].abs().sum() <= 1e-9
        assert (step[m].norm(dim=-1) >= gamma * plain[m].norm(dim=-1) - 1e-9).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_ngdiff_is_the_bisector_and_does_not_hear_how_loud_a_loss_is(seed):
    _, step = moved(NGDiff(), seed)
    _, louder = moved(NGDiff(weight=7.0), seed)
    for m in ORDER:
        assert (step[m] - louder[m]).abs().max() <= 1e-9
        assert (step[m].norm(dim=-1) <= 2 + 1e-9).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), lam=st.floats(0.1, 5.0))
def test_mimo_of_much_smoothing_is_uniform_multi_loss_of_a_share(seed, lam):
    _, step = moved(MIMO(lam, mu=1e7), seed)
    _, plain = moved(Uniform(lam / len(ORDER)), seed)
    for owner, move in step.items():
        assert (move - plain[owner]).abs().max() <= 1e-6


def test_mimo_of_little_smoothing_helps_the_worst_modality_alone():
    losses, _ = losses_and_blocks(3)
    worst = torch.stack([losses[m] for m in ORDER], -1).argmax(-1)
    _, step = moved(MIMO(1.0, mu=1e-6), 3)
    reached = torch.stack([step[f"head:{m}"].norm(dim=-1) for m in ORDER], -1)
    assert (reached > 1e-9).sum(-1).tolist() == [1] * R
    assert reached.argmax(-1).equal(worst)


def test_tensor_rescaling_restores_each_tensor_by_itself():
    _, whole = moved(MMPareto(1.0), 5)
    t, parts = moved(MMPareto(1.0, rescale="tensor"), 5)
    _, plain = moved(Uniform(), 5)
    for m in ORDER:
        assert parts[m].shape == whole[m].shape
        start = t.flat.columns[m].start
        for span in (s for s in t.flat.spans if start <= s.start < t.flat.columns[m].stop):
            cut = slice(span.start - start, span.stop - start)
            assert (parts[m][:, cut].norm(dim=-1) >= plain[m][:, cut].norm(dim=-1) - 1e-9).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Combined("no such rule"),
        lambda: Combined(scope="everything"),
        lambda: Combined(weight=-1.0),
        lambda: MIMO(-1.0),
        lambda: MIMO(mu=0.0),
        lambda: MMPareto(0.0),
    ],
)
def test_bad_settings_are_refused(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()
