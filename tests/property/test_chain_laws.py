"""Laws of composition: a chain of one is its member, losses and gradients compose, what cannot be merged is refused."""

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import (
    CGGM,
    METHODS,
    MIMO,
    MLA,
    MSES,
    MSLR,
    OGM,
    OPM,
    UMT,
    AuxiliaryHeads,
    Card,
    Chain,
    Greedy,
    Joint,
    Method,
    MMPareto,
    ReconBoost,
    Relearning,
    Uniform,
    Valuation,
)
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.testing import check_method
from mmtheory.training import Settings, Trainer

R = 2
DETERMINISTIC = {
    "uniform": Uniform,
    "mimo": MIMO,
    "umt": lambda: UMT(1.0),
    "ogm": OGM,
    "greedy": lambda: Greedy(start=0),
    "mses": lambda: MSES(1, tolerance=10.0),
    "cggm": CGGM,
    "mmpareto": MMPareto,
}


def trainer(method, **options):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=torch.float64) for m in "abc"}
        head = FUSIONS["shared"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    data, held = (
        Batch({m: draws.normal(f"{m} {k}", 24, 4) for m in "abc"}, draws.integers(f"y {k}", 3, 24)) for k in (0, 1)
    )
    config = Settings(**({"epochs": 2, "batch_size": 8, "lr": 0.05} | options))
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(R), validation=held)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_chain_of_one_is_its_member_bit_for_bit(name):
    chained, alone = trainer(Chain(METHODS[name]())).run(), trainer(METHODS[name]()).run()
    assert torch.equal(chained.flat.data, alone.flat.data)
    assert torch.equal(chained.predict(chained.train_data), alone.predict(alone.train_data))


@pytest.mark.parametrize(
    ("name", "before"),
    [(n, before) for n in sorted(DETERMINISTIC) for before in (True, False) if (n, before) != ("mmpareto", True)],
)
def test_joint_training_adds_nothing_to_a_chain(name, before):
    method = DETERMINISTIC[name]()
    chain = Chain(Joint(), method) if before else Chain(method, Joint())
    assert torch.equal(trainer(chain).run().flat.data, trainer(DETERMINISTIC[name]()).run().flat.data)


def test_losses_add_up_their_differences_to_joint_training():
    plain = {"epochs": 1, "batch_size": 24, "lr": 1.0, "weight_decay": 0.0, "momentum": 0.0}

    def step(method):
        t = trainer(method, **plain)
        start = t.flat.data.clone()
        width = trainer(Joint()).flat.data.shape[-1]
        return (t.run().flat.data - start)[:, :width]

    def teachers():
        return UMT(3.0, teacher_epochs=2)

    joint = step(Joint())
    both, one, other = step(Chain(MIMO(2.0), teachers())), step(MIMO(2.0)), step(teachers())
    assert ((one - joint).abs().amax(-1) > 1e-6).all()
    assert ((other - joint).abs().amax(-1) > 1e-6).all()
    assert (both - joint - (one - joint) - (other - joint)).abs().max() <= 1e-12


def test_gradients_go_through_the_members_in_order():
    class Twice(Method):
        card = Card("twice", "test", "Doubles.", "paper")

        def on_gradients(self, step, gradients):
            return 2 * gradients.total()

    class PlusOne(Method):
        card = Card("plus one", "test", "Adds one.", "paper")

        def on_gradients(self, step, gradients):
            return gradients.total() + 1

    plain = {"epochs": 1, "batch_size": 24, "lr": 1.0, "weight_decay": 0.0, "momentum": 0.0}
    joint, a, b = (trainer(m, **plain) for m in (Joint(), Chain(Twice(), PlusOne()), Chain(PlusOne(), Twice())))
    g = joint.flat.data.clone() - joint.run().flat.data
    assert (a.flat.data - a.run().flat.data).abs().max() == 0  # the same tensor
    start = trainer(Joint(), **plain).flat.data
    assert (start - a.flat.data - (2 * g + 1)).abs().max() <= 1e-12
    assert (start - b.run().flat.data - 2 * (g + 1)).abs().max() <= 1e-12


@pytest.mark.parametrize(
    "make",
    [
        lambda: Chain(OPM(), OGM(form="journal")),
        lambda: Chain(Greedy(start=0), MIMO(), MSES(1, tolerance=10.0)),
        lambda: Chain(Valuation(warmup=0), Relearning(every=1), Uniform()),
    ],
)
def test_chains_are_methods(make):
    check_method(make(), fusions=("film",))


def test_only_who_declares_the_need_sees_the_validation_split():
    seen = {}

    class Curious(Method):
        card = Card("curious", "test", "Looks.", "paper")

        def on_epoch(self, view):
            seen["validation"] = view.validation

    trainer(Chain(MSES(), Curious())).run()
    assert seen == {"validation": None}


def test_randomness_of_members_does_not_depend_on_each_other():
    """Whoever comes later in a chain draws alike, whatever stands first."""
    opm = [OPM(), OPM()]
    masks = []
    for method, first in zip(opm, (Joint(), Greedy(float("inf"))), strict=True):
        drawn = []
        original = method.on_features

        def spy(step, original=original, drawn=drawn):
            original(step)
            drawn.append(step.draws.streams)

        method.on_features = spy
        trainer(Chain(first, method)).run(1)
        masks.append(drawn)
    assert masks[0] == masks[1]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Chain(), "at least one method"),
        (lambda: Chain(OGM(), OGM()), "each method once, found ogm"),
        (lambda: Chain(MLA(), ReconBoost()), "one member with phases, found mla and reconboost"),
        (lambda: Chain(MMPareto(), METHODS["mie"]()), "one member with phases"),
        (lambda: Chain(METHODS["agm"](), METHODS["aug"]()), "one member with output"),
        (lambda: trainer(Chain(Uniform(), MIMO())), "auxiliary parts of different names, found 'head:a' in uniform and mimo"),
        (lambda: trainer(Chain(OGM(), MMPareto())), "which joins several rows, to be first"),
        (lambda: trainer(Chain(MMPareto(), UMT())), "none that adds losses, found \\['umt'\\]"),
        (lambda: trainer(Chain(MLA(), OPM())), "lets modalities rest, no member that touches features"),
        (lambda: trainer(Chain(ReconBoost(), UMT())), "no member that touches features, losses or gradients, found umt"),
        (lambda: trainer(Chain(MLA(), OGM(contribution=AuxiliaryHeads()))), "found ogm"),
    ],
)  # fmt: skip
def test_what_cannot_be_merged_is_refused(make, reason):
    with pytest.raises(ArgumentError, match=reason):
        make()


def test_alternating_training_composes_with_learning_rates():
    t = trainer(Chain(MLA(), MSLR(first=0, measure="score"))).run()
    assert not torch.equal(t.flat.data, trainer(MLA()).run().flat.data)
    assert t.flat.data.isfinite().all()


def test_chains_in_chains_are_one_chain():
    assert Chain(Chain(OPM(), OGM()), Chain(UMT())).names == ("opm", "ogm", "umt")
