"""Laws that hold for every method on every fusion: neutral, activity, resumption, separate replicates, names, owners."""

import functools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.methods import AUG, METHODS, MSES, MSLR, Greedy, InfoReg, Joint, Relearning, Valuation
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

CLASSES, N, R = 3, 20, 2
SHORT = {
    "aug": lambda: AUG(every=1),
    "valuation": lambda: Valuation(warmup=0),
    "greedy": lambda: Greedy(start=0),
    "inforeg": lambda: InfoReg(gap=0.0),
    "mses": lambda: MSES(patience=1, tolerance=10.0),
    "relearning": lambda: Relearning(every=1),
    "mslr": lambda: MSLR(first=0, measure="score"),
}
"""What acts within two epochs, for methods whose defaults wait longer."""
methods = st.sampled_from(sorted(set(METHODS) - {"joint"}))
fusions = st.sampled_from(sorted(FUSIONS))
names = st.sampled_from(["ab", "abc", "dacb"])
many = settings(max_examples=15, deadline=None)


def made(name):
    return SHORT.get(name, METHODS[name])()


def split(name, order, alone=None):
    draws = Stream(7).child(name).draws(range(R))
    y = draws.integers("y", CLASSES, N)
    x = {m: draws.normal(m, N, 4) for m in sorted(order)}
    for loud, z in zip((3.0, 1.0, 0.0, 0.5), x.values(), strict=False):
        z[..., :CLASSES] += loud * torch.nn.functional.one_hot(y, CLASSES)
    if alone is not None:
        return Batch({m: x[m][alone] for m in order}, y[alone])
    return Batch({m: x[m] for m in order}, y)


def fresh(method, fusion, order, alone=None):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in order}
        head = FUSIONS[fusion](dict.fromkeys(order, 5), CLASSES, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return Trainer(
        build,
        method,
        split("train", order, alone),
        settings=Settings(epochs=2, batch_size=9, lr=0.05),
        stream=Stream(1) if alone is None else Stream(1).child(alone),
        replicates=range(R) if alone is None else None,
        validation=split("held", order, alone),
    )


@functools.cache
def joint(fusion, order):
    return own(fresh(Joint(), fusion, order).run())


def own(trainer):
    """The model's parameters, without auxiliary ones."""
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
@pytest.mark.parametrize("name", [m for m in sorted(METHODS) if METHODS[m]().neutral() is not None and m != "joint"])
def test_the_neutral_setting_is_joint_training_bit_for_bit_on_every_fusion(name, fusion):
    found = own(fresh(METHODS[name]().neutral(), fusion, "ab").run())
    assert all(torch.equal(found[k], p) for k, p in joint(fusion, "ab").items())


@many
@given(methods, fusions, names)
def test_an_active_method_changes_training(name, fusion, order):
    found = own(fresh(made(name), fusion, order).run())
    assert any(k not in found or (found[k] - p).abs().max() > 1e-9 for k, p in joint(fusion, order).items())
    assert all(p.isfinite().all() for p in found.values())


@many
@given(methods, fusions, names)
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(name, fusion, order):
    whole = fresh(made(name), fusion, order).run()
    half, rest = fresh(made(name), fusion, order).run(1), fresh(made(name), fusion, order)
    rest.load_state_dict(half.state_dict())
    rest.run(1)
    for key, value in whole.state_dict().items():
        assert torch.equal(rest.state_dict()[key], value), key


@many
@given(methods, fusions, names, st.integers(0, R - 1))
def test_stacked_replicates_are_separate_ones(name, fusion, order, r):
    together, alone = fresh(made(name), fusion, order).run(), fresh(made(name), fusion, order, r).run()
    assert (together.flat.data[r] - alone.flat.data).abs().max() <= 1e-10


@many
@given(methods, fusions, st.permutations("abc"))
def test_the_order_in_which_modalities_are_named_does_not_matter(name, fusion, order):
    order = "".join(order)
    # A fusion whose initial weights lie side by side, by position, is another one under another order.
    assume(all(torch.allclose(p, joint(fusion, order)[k], atol=1e-9) for k, p in joint(fusion, "abc").items()))
    here, there = (own(fresh(made(name), fusion, o).run()) for o in ("abc", order))
    assert max((here[k] - there[k]).abs().max() for k in here) <= 1e-9


@many
@given(methods, fusions)
def test_no_step_moves_an_owner_that_its_phase_does_not_move(name, fusion):
    """Momentum of those at rest included: a pass that moves some leaves the others' parameters as they were, bit for bit."""
    trainer = fresh(made(name), fusion, "abc")
    hook, before = trainer.method.after_step, {}

    def watch(step, gradients, *, by_hand):
        before["data"], before["move"] = trainer.flat.data.clone(), step.phase.move

    def checked(step):
        move = before["move"]
        for owner, columns in trainer.flat.columns.items():
            if move is not None and owner not in move:
                assert torch.equal(trainer.flat.data[..., columns], before["data"][..., columns]), (name, owner)
        hook(step)

    trainer.watch, trainer.method.after_step = watch, checked
    trainer.run()
