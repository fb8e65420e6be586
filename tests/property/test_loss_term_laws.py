"""Methods that add a term to the loss: CML's order of confidence, LFM's alignment and its weight, MBSD's distillation."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import subsets
from mmtheory.methods import CML, LFM, MBSD, Joint, Phase, Step
from mmtheory.methods.cml import confidences, disorder
from mmtheory.methods.lfm import jensen_shannon
from mmtheory.methods.mbsd import divergence
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

SEEDS = st.integers(0, 2**32)
WIDTHS = {"a": (5, 6), "b": (3, 6), "c": (2, 6)}


def build(fusion="concat"):
    def made(draws):
        encoders = {m: MLPEncoder(w, draws=draws, name=m, dtype=torch.float64) for m, w in WIDTHS.items()}
        head = FUSIONS[fusion](dict.fromkeys(WIDTHS, 6), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return made


def trainer(method, *, fusion="concat", n=24, replicates=4, **settings):
    draws = Stream(3).draws(range(replicates))
    y = draws.integers("y", 3, n)
    x = {m: draws.normal(m, n, w[0]) for m, w in WIDTHS.items()}
    x["a"][..., :3] += 3 * torch.nn.functional.one_hot(y, 3)
    chosen = Settings(**{"epochs": 3, "batch_size": 8, "lr": 0.05, **settings})
    return Trainer(build(fusion), method, Batch(x, y), settings=chosen, stream=Stream(0), replicates=range(replicates))


@given(SEEDS, st.integers(2, 4))
def test_the_hinge_is_zero_exactly_where_confidence_never_falls(seed, modalities):
    names = "abcd"[:modalities]
    draws = Stream(seed).draws()
    steps = {s: draws.uniform("".join(sorted(s)), 5) for s in subsets(names) if s}
    orderly = {s: sum(steps[t] for t in steps if t <= s) for s in steps}
    assert disorder(orderly) == 0
    broken = {**orderly, frozenset(names): orderly[frozenset(names[:-1])] - 0.5}
    assert disorder(broken) >= 0.5 - 1e-12
    by_hand = sum(
        max(0.0, float(small[i] - steps[more][i])) / 5
        for less, small in steps.items()
        for more in steps
        if less < more and len(more) == len(less) + 1
        for i in range(5)
    )
    assert float(disorder(steps)) == pytest.approx(by_hand, abs=1e-12)


def disorder_after(method, fusion):
    run = trainer(method, fusion=fusion, epochs=15, lr=0.2, momentum=0.0, replicates=32).run()
    z = run.model.encode(run.train_data.x)
    with torch.no_grad():
        return disorder({s: confidences(run.model.fuse(z, s)) for s in subsets("abc") if s})


@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_training_with_the_hinge_orders_confidences(fusion):
    # Were it a coin's toss in each replicate, thirty of thirty-two would agree with probability 1.3e-7.
    assert (disorder_after(CML(1.0), fusion) < disorder_after(Joint(), fusion)).sum() >= 30


@given(SEEDS, st.integers(2, 5))
def test_jensen_shannon(seed, modalities):
    draws = Stream(seed).draws()
    logits = {str(m): 5 * draws.normal(str(m), 6, 4) for m in range(modalities)}
    js = jensen_shannon(logits)
    assert (js >= -1e-12).all()
    assert (js <= math.log(modalities) + 1e-12).all()
    assert torch.allclose(jensen_shannon(dict(reversed(logits.items()))), js)
    assert jensen_shannon(dict.fromkeys(logits, logits["0"])).abs().max() <= 1e-12
    p = torch.stack([f.softmax(-1) for f in logits.values()])
    direct = (p * (p / p.mean(0)).log()).sum(-1).mean(0)
    assert torch.allclose(js, direct, atol=1e-10)


def test_the_ramp_ends_in_plain_classification():
    half = trainer(LFM(0.5, ramp=2), epochs=3)
    seen = []
    method = half.method
    for epoch in range(3):
        batch = half.train_data
        step = Step(half.model, half.auxiliary, batch, Phase(), epoch, 0, half.draws)
        step.features = half.model.encode(batch.x)
        step.logits = half.model.fuse(step.features)
        total = method.losses(step)["total"]
        label, apart = step.cross_entropy(step.logits), jensen_shannon(half.model.fusion.parts(step.features)).mean(-1)
        weight = (0.5, 0.75, 1.0)[epoch]
        assert torch.allclose(total, weight * label + (1 - weight) * apart)
        seen.append(total)
    assert torch.equal(seen[-1], label)


def test_the_learned_weight_follows_the_look_ahead_gradient():
    """A larger weight would have lowered the label loss after the step exactly where the weight is raised."""
    rate, delta = 1e-3, 1e-4
    run = trainer(
        LFM(0.5, schedule="learned", rate=rate), batch_size=24, epochs=1, momentum=0.0, weight_decay=0.0
    ).run()
    moved = (run.method.weight - 0.5) / rate

    def label_loss(weight):
        other = trainer(
            LFM(weight, schedule="learned", rate=0.0), batch_size=24, epochs=1, momentum=0.0, weight_decay=0.0
        ).run()
        said = other.predict(other.train_data)
        return torch.nn.functional.cross_entropy(said.mT, other.train_data.y, reduction="none").mean(-1)

    slope = (label_loss(0.5 + delta) - label_loss(0.5 - delta)) / (2 * delta)
    assert (moved.abs() <= 1).all()
    assert (moved.abs() > 1e-3).all()
    assert torch.equal(moved.sign(), -slope.sign())


def test_the_learned_weight_stays_in_range():
    run = trainer(LFM(0.9, schedule="learned", rate=5.0), epochs=4).run()
    assert ((run.method.weight >= 0) & (run.method.weight <= 1)).all()


@given(SEEDS)
def test_distillation_is_a_divergence_and_the_released_form_is_not(seed):
    draws = Stream(seed).draws()
    teacher, pupil = 3 * draws.normal("t", 6, 4), 3 * draws.normal("p", 6, 4)
    assert (divergence(teacher, pupil) >= -1e-12).all()
    assert divergence(teacher, teacher).abs().max() <= 1e-12
    assert torch.allclose(divergence(teacher, pupil + 7.0), divergence(teacher, pupil))
    reference = torch.nn.functional.kl_div(pupil.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    assert torch.allclose(divergence(teacher, pupil), reference)
    released = torch.nn.functional.kl_div(pupil.softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    assert torch.allclose(divergence(teacher, pupil, "released"), released)
    assert divergence(teacher, teacher, "released").abs().max() > 1e-3


def test_the_teacher_gets_no_gradient():
    run = trainer(MBSD())
    batch = run.train_data
    step = Step(run.model, run.auxiliary, batch, Phase(), 0, 0, run.draws, features=run.model.encode(batch.x))
    step.logits = run.model.fuse(step.features).detach().requires_grad_()
    with_term = torch.autograd.grad(run.method.losses(step)["total"].sum(), step.logits)[0]
    without = torch.autograd.grad(step.cross_entropy(step.logits).sum(), step.logits)[0]
    assert torch.equal(with_term, without)


@pytest.mark.parametrize(
    "bad", [lambda: CML(-1.0), lambda: LFM(1.5), lambda: LFM(ramp=0), lambda: MBSD(temperature=0.0), lambda: MBSD(-1.0)]
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ArgumentError, match="expected"):
        bad()
