"""A strength for each replicate is that strength in that replicate, for every method and in both precisions; what nobody may see."""

import dataclasses

import pytest
import torch

from mmtheory.batch import Batch
from mmtheory.methods import (
    AUG,
    BOGC,
    CGGM,
    METHODS,
    MIMO,
    MSES,
    MSLR,
    UMT,
    Combined,
    GBlend,
    Greedy,
    MMPareto,
    NGDiff,
    ReconBoost,
    Relearning,
    Valuation,
)
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

R = 2
MADE = {
    "aug lam": (lambda s: AUG(s, every=1, tau=0.0), (0.2, 0.9)),
    "aug tau": (lambda s: AUG(every=1, tau=s), (0.0, 5.0)),
    "bogc prior": (BOGC, (0.1, 4.0)),
    "bogc damped": (lambda s: BOGC(s, damped=True), (0.1, 4.0)),
    "cggm strength": (CGGM, (0.0, 0.8)),
    "cggm rho": (lambda s: CGGM(rho=s), (0.5, 2.0)),
    "cggm lam": (lambda s: CGGM(lam=s), (0.0, 1.0)),
    "mimo lam": (MIMO, (0.0, 2.0)),
    "mses patience": (lambda s: MSES(s, tolerance=10.0), (1.0, 2.0)),
    "mslr strength": (lambda s: MSLR(s, first=0, measure="score"), (0.0, 1.0)),
    "umt lam": (lambda s: UMT(s, teacher_epochs=1), (0.0, 2.0)),
    "moo weight": (lambda s: Combined("mgda", weight=s), (0.5, 2.0)),
    "moo joint": (lambda s: Combined("pcgrad", weight=s, scope="joint"), (0.5, 2.0)),
    "gblend strength": (lambda s: GBlend(s, super_epoch=1), (0.0, 0.7)),
    "greedy epsilon": (lambda s: Greedy(s, start=0), (0.0, 9.0)),
    "mmpareto gamma": (MMPareto, (1.0, 2.0)),
    "mmpareto tensor": (lambda s: MMPareto(s, rescale="tensor"), (1.0, 2.0)),
    "reconboost w2": (ReconBoost, (0.0, 5.0)),
    "reconboost memory": (lambda s: ReconBoost(memory=s), (0.0, 3.0)),
    "relearning lam": (lambda s: Relearning(s, every=1), (0.0, 3.0)),
    "valuation gain": (lambda s: Valuation(s, warmup=0), (0.0, 2.0)),
}
"""How to make a method of one strength, and two strengths that train differently."""


def trainer(method, dtype=torch.float64, poison=0):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 5), draws=draws, name=m, dtype=dtype) for m in "abc"}
        head = FUSIONS["concat"](dict.fromkeys("abc", 5), 3, draws=draws, dtype=dtype)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    draws = Stream(3).draws(range(R))
    data, held = (
        Batch({m: draws.normal(f"{m} {k}", 24, 4).to(dtype) for m in "abc"}, draws.integers(f"y {k}", 3, 24))
        for k in (0, 1)
    )
    held = dataclasses.replace(held, y=(held.y + poison) % 3)
    config = Settings(epochs=3, batch_size=8, lr=0.05)
    return Trainer(build, method, data, settings=config, stream=Stream(1), replicates=range(R), validation=held)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("case", sorted(MADE))
def test_a_strength_for_each_replicate_is_that_strength_in_it(case, dtype, tolerance):
    make, strengths = MADE[case]
    mixed = trainer(make(torch.tensor(strengths, dtype=torch.float64)), dtype).run()
    assert mixed.flat.data.dtype == dtype
    for r, s in enumerate(strengths):
        alone = trainer(make(s), dtype).run()
        # A number zero leaves a term out, a tensor of zeros multiplies it: auxiliary heads decay in the second case alone.
        model = slice(0, mixed.flat.columns["shared"].stop)
        assert (mixed.flat.data[r, model] - alone.flat.data[r, model]).abs().max() <= tolerance
        assert (alone.flat.data[r] - trainer(make(strengths[1 - r]), dtype).run().flat.data[r]).abs().max() > 1e-6


@pytest.mark.parametrize("options", [{"guarded": False}, {"lam": 0.0}, {"memory": 0.0}])
def test_cggm_as_released_acts_differently(options):
    found = trainer(CGGM(**options)).run().flat.data
    assert not torch.equal(found, trainer(CGGM()).run().flat.data)


def test_gblend_as_multibench_has_it_prefers_the_larger_loss():
    method = GBlend(super_epoch=3, final=True)
    trainer(method).run(1)
    assert (method.weights.sum(-1) - 1).abs().max() <= 1e-12
    assert (method.weights > 0).all()


def test_the_pseudo_code_boosts_whoever_leads():
    counts = {}
    for boost in ("weaker", "stronger"):
        method = AUG(every=1, boost=boost, tau=0.0)
        trainer(method).run(2)
        counts[boost] = torch.stack(list(method.count.values()))
    assert (counts["weaker"] != counts["stronger"]).any(0).all()


@pytest.mark.parametrize("name", sorted(n for n, m in METHODS.items() if "validation" not in m.needs))
def test_poisoned_validation_labels_change_nothing_for_who_does_not_ask_for_them(name):
    clean, poisoned = (trainer(METHODS[name](), poison=p).run(2).flat.data for p in (0, 1))
    assert torch.equal(clean, poisoned)


def test_ngdiff_knows_its_objectives_in_either_scope():
    for scope in ("encoder", "joint"):
        assert trainer(NGDiff(scope=scope)).run(1).flat.data.isfinite().all()
