"""Laws of the methods that look at trial runs: G-Blend's weights and UMT's teachers are what separate trainings give."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import UMT, GBlend, Joint, Unimodal
from mmtheory.methods.gblend import blend
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R, CONFIG = 2, Settings(epochs=4, batch_size=8, lr=0.05)


def build(draws):
    encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
    head = FUSIONS["film"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
    return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)


def split(name):
    draws = Stream(3).child(name).draws(range(R))
    return Batch({m: draws.normal(m, 24, 4) for m in "abc"}, draws.integers("y", 3, 24))


def trainer(method, config=CONFIG):
    return Trainer(
        build, method, split("train"), settings=config, stream=Stream(1), replicates=range(R), validation=split("held")
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 6), c=st.floats(0.1, 10))
def test_blend_is_gain_over_overfitting_squared(seed, k, c):
    draws = Stream(seed).draws()
    gain, over = draws.normal("gain", k), 0.1 + draws.uniform("over", k)
    w = blend(gain, over)
    assert (w >= 0).all()
    assert abs(float(w.sum()) - 1) <= 1e-12
    ratios = w * over**2
    positive = gain > 0
    if positive.any():
        assert (w[~positive] == 0).all()
        assert ((ratios / gain)[positive].std(correction=0) <= 1e-9 * (ratios / gain)[positive].mean()).all()
    assert (blend(c * gain, c * over, floor=1e-6) - blend(gain, over, floor=1e-6)).abs().max() <= 1e-9
    assert (blend(torch.full((k,), float(gain.abs().max())), torch.full((k,), 0.3)) - 1 / k).abs().max() <= 1e-6
    assert (blend(-gain.abs(), over) == 1 / k).all()


def losses_of(joint, alone, data):
    """Fused and unimodal losses by an unrelated route: torch's own cross-entropy on whole splits."""

    def mean(logits):
        return cross_entropy(logits.mT, data.y, reduction="none").mean(-1)

    fused = mean(joint.model(data.x).logits)
    own = [mean(alone.auxiliary[f"head:{m}"](alone.model.encoders[m](data.x[m]))) for m in "abc"]
    return torch.stack([fused, *own], -1)


@pytest.mark.parametrize("super_epoch", [2, None])
def test_the_weights_are_those_of_separate_trial_runs(super_epoch):
    method = GBlend(super_epoch=super_epoch)
    trainer(method).run(1)
    joint, alone = trainer(Joint()), trainer(Unimodal())
    before = [losses_of(joint, alone, split(k)) for k in ("train", "held")]
    for t in (joint, alone):
        t.run(super_epoch)
    after = [losses_of(joint, alone, split(k)) for k in ("train", "held")]
    over = (after[1] - after[0]) - (before[1] - before[0])
    expected = blend(before[1] - after[1], over)
    assert (method.weights - expected).abs().max() <= 1e-9


def test_a_super_epoch_starts_from_where_the_model_is():
    """The second measurement differs from the first, and resuming in between changes nothing."""
    method = GBlend(super_epoch=2)
    t = trainer(method).run(2)
    first = method.weights.clone()
    t.run(1)
    assert (method.weights - first).abs().max() > 1e-6
    assert (method.weights.sum(-1) - 1).abs().max() <= 1e-12


def test_teachers_are_unimodal_training_and_stay_as_they_are():
    method = UMT(3.0, teacher_epochs=2)
    t = trainer(method).run(1)
    alone = trainer(Unimodal()).run(2)
    teachers = {k: v.clone() for k, v in method.teachers.state_dict().items()}
    for k, v in alone.model.encoders.state_dict().items():
        assert torch.equal(teachers[k], v)
    t.run()
    assert all(torch.equal(v, teachers[k]) for k, v in method.teachers.state_dict().items())
    assert not method.teachers.training
    assert not any(p.requires_grad for p in method.teachers.parameters())
    student = t.flat.data
    assert not any(p.data_ptr() == student.data_ptr() for p in method.teachers.parameters())


def test_the_distillation_loss_is_zero_at_the_teacher_and_the_mean_squared_distance_elsewhere():
    """With teachers that learnt nothing, student and teacher are one: the first step is joint training's."""
    config = Settings(epochs=1, batch_size=24, lr=0.05)
    first = trainer(UMT(7.0, teacher_epochs=0), config).run()
    joint = trainer(Joint(), config).run()
    assert torch.equal(first.flat.data, joint.flat.data)


def test_more_distillation_ends_nearer_to_the_teacher():
    gaps = []
    for lam in (0.01, 0.1, 1.0):
        method = UMT(lam)
        t = trainer(method).run()
        z, aim = t.model.encode(split("train").x), {m: f(split("train").x[m]) for m, f in method.teachers.items()}
        gaps.append(torch.stack([((z[m] - aim[m]) ** 2).mean((-2, -1)) for m in z]).sum(0))
    assert (gaps[1] < gaps[0]).all()
    assert (gaps[2] < gaps[1]).all()


@pytest.mark.parametrize(
    "make", [lambda: GBlend(1.5), lambda: GBlend(super_epoch=0), lambda: GBlend(floor=0.0), lambda: UMT(-1.0), lambda: UMT(teacher_epochs=-1)]
)  # fmt: skip
def test_bad_settings_are_refused(make):
    with pytest.raises(ArgumentError, match="expected"):
        make()
