"""Every weighting of mmtheory.moo trains as a method, memory and all; FAMO and GradDrop, which need more than a Gramian, too."""

import functools

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import FAMO, METHODS, Combined, GradDrop, Joint, Uniform, made
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.moo import WEIGHTINGS
from mmtheory.rng import Stream
from mmtheory.testing import check_method
from mmtheory.training import Settings, Trainer

R, N = 3, 24


def builder(draws):
    encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "ab"}
    head = FUSIONS["film"](dict.fromkeys("ab", 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def trainer(method, *, present=None, alone=None, epochs=2):
    draws = Stream(5).draws(range(R))
    data = Batch({m: draws.normal(m, N, 4) for m in "ab"}, draws.integers("y", 3, N), present or {})
    config = Settings(epochs=epochs, batch_size=10, lr=0.05, momentum=0.0)
    if alone is not None:
        data = Batch({m: v[alone] for m, v in data.x.items()}, data.y[alone])
        return Trainer(builder, method, data, settings=config, stream=Stream(1).child(alone))
    return Trainer(builder, method, data, settings=config, stream=Stream(1), replicates=range(R))


@functools.cache
def joint():
    return trainer(Joint()).run().model


@pytest.mark.parametrize("key", sorted({*WEIGHTINGS, "famo", "graddrop", "mimo", "stch"}))
def test_every_weighting_is_a_method_by_its_name(key):
    whole = trainer(made(f"moo:{key}")).run()
    half, rest = trainer(made(f"moo:{key}")).run(1), trainer(made(f"moo:{key}"))
    rest.load_state_dict(half.state_dict())
    for name, value in rest.run(1).state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
    for r in (0, 2):
        alone = trainer(made(f"moo:{key}"), alone=r).run()
        assert (whole.flat.data[r] - alone.flat.data).abs().max() <= 1e-10
    assert any((p - q).abs().max() > 1e-9 for p, q in zip(whole.model.parameters(), joint().parameters(), strict=True))


VARIANTS = {
    "moco": Combined("moco"),
    "modo, tracked": Combined("modo", beta=0.3, scope="joint"),
    "famo": FAMO(0.5),
    "graddrop": GradDrop(0.2),
}


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_memories_keep_the_contract(variant):
    check_method(VARIANTS[variant], fusions=("concat",))


def test_tracking_all_of_the_present_is_not_tracking():
    plain, moco = (trainer(Combined("moco", beta=b)).run() for b in (1.0, 0.5))
    assert not plain.method.state_dict().keys() & moco.method.state_dict().keys() - {"a 0", "b 0"}
    assert set(moco.method.state_dict()) == {"a 0", "b 0", "tracked fused", "tracked own"}
    assert (plain.flat.data - moco.flat.data).abs().max() > 1e-9


def test_tracked_gradients_that_never_move_are_the_first_steps():
    class Seen(Combined):
        def join(self, gradients, modality, fused, own):
            seen.setdefault(modality, []).append(torch.stack((fused, own), -2).clone())
            super().join(gradients, modality, fused, own)

    seen = {}
    trainer(Seen("mgda", beta=0.0)).run()
    for rows in seen.values():
        assert all(torch.equal(rows[0], row) for row in rows[1:])


def test_famo_weighs_by_the_inverse_loss_and_then_by_who_fell_least():
    class Seen(FAMO):
        def _each(self, step):
            found = super()._each(step)
            told.append(found.detach().double())
            return found

    told = []
    t = trainer(Seen(0.5), epochs=1).run()
    before, after = told[0], told[1]
    # Adam's first step is the learning rate by the sign of z(change − z·change), here with uniform z.
    first = FAMO(0.5)
    first.bind(t.model, t.draws("none"))
    weights = first.rule.weights(before, first.memory)
    assert torch.allclose(weights * before, (weights * before).mean(-1, keepdim=True).expand_as(before), atol=1e-7)
    fall = before.log() - after.log()
    moved = first.rule.updated(first.memory, before, after).logits
    assert torch.equal(moved > 0, fall < fall.mean(-1, keepdim=True))


def test_famos_weights_are_convex_and_a_silent_modality_has_none():
    class Seen(FAMO):
        def losses(self, step):
            found = super().losses(step)
            bars.append((found["total"].detach(), self.before))
            return found

    bars = []
    present = {"a": torch.zeros(R, N, dtype=torch.bool), "b": torch.ones(R, N, dtype=torch.bool)}
    t = trainer(Seen(), present=present).run()
    assert t.alive.all()
    for total, each in bars:
        assert (each[..., 1] == 0).all()
        assert (total <= each.amax(-1) + 1e-12).all()
        assert (total >= each[..., [0, 2]].amin(-1) - 1e-12).all()
    assert (t.method.memory.logits[..., 1].abs() < t.method.memory.logits[..., 0].abs() + 1).all()


def test_graddrop_that_leaks_everything_is_uniform_multi_loss():
    leaky, uniform = trainer(GradDrop(1.0)).run(), trainer(Uniform()).run()
    assert (leaky.flat.data - uniform.flat.data).abs().max() <= 1e-12


def test_graddrop_keeps_one_sign_of_each_weight_and_all_where_they_agree():
    class Seen(GradDrop):
        def on_gradients(self, step, gradients):
            rows = {m: (gradients.owned("fused", m).clone(), gradients.owned("own", m).clone()) for m in "ab"}
            found = super().on_gradients(step, gradients)
            for m, (fused, own) in rows.items():
                kept = found[..., gradients.flat.columns[m]]
                plus, minus = (
                    torch.stack([g.clamp(**side) for g in (fused, own)]).sum(0) for side in ({"min": 0}, {"max": 0})
                )
                assert ((kept == plus) | (kept == minus)).all()
                agree = fused * own > 0
                assert torch.equal(kept[agree], (fused + own)[agree])
                told.append(bool((~agree & (kept == plus)).any() and (~agree & (kept == minus)).any()))
            return found

    told = []
    trainer(Seen()).run()
    assert all(told)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: made("nonsense"), "expected a method among joint, .*found 'nonsense'"),
        (lambda: made("moo:nonsense"), "moo: and one of aligned.*found 'moo:nonsense'"),
        (lambda: FAMO(-1.0), "rate: expected"),
        (lambda: GradDrop(1.5), r"graddrop: leak: expected a number in \[0, 1\], found 1.5"),
        (lambda: Combined("moco", beta=-0.1), r"moo: beta: expected a number in \[0, 1\], found -0.1"),
    ],
)
def test_bad_settings_are_refused(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()


def test_names_without_a_prefix_are_the_registry():
    assert all(type(made(name)) is METHODS[name] for name in METHODS)
    # As a bare weighting it would unlearn the unimodal losses.
    assert type(made("moo:ngdiff")) is METHODS["ngdiff"]
