"""Methods that change signals between the losses and the optimiser: AGM, AMCo, InfoReg."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import AGM, AMCo, InfoReg, Joint, ShapleyShares
from mmtheory.methods.agm import lags
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


def trainer(method, *, fusion="concat", n=24, **settings):
    draws = Stream(3).draws(range(3))
    y = draws.integers("y", 3, n)
    x = {m: draws.normal(m, n, w[0]) for m, w in WIDTHS.items()}
    x["a"][..., :3] += 3 * torch.nn.functional.one_hot(y, 3)
    chosen = Settings(**{"epochs": 3, "batch_size": 8, "lr": 0.05, **settings})
    return Trainer(build(fusion), method, Batch(x, y), settings=chosen, stream=Stream(0), replicates=range(3))


@pytest.mark.parametrize("fusion", sorted(FUSIONS))
def test_attributions_sum_to_the_logits_on_every_fusion(fusion):
    run = trainer(AGM(contribution=ShapleyShares()), fusion=fusion)
    features = run.model.encode(run.train_data.x)
    shares = run.method.attributions(run.model, features)
    assert torch.allclose(torch.stack(list(shares.values())).sum(0), run.model.fuse(features), atol=1e-12)


def test_shapley_shares_of_a_linear_fusion_are_its_split():
    shapley, split = trainer(AGM(contribution=ShapleyShares())), trainer(AGM())
    features = split.model.encode(split.train_data.x)
    here, there = (run.method.attributions(run.model, features) for run in (shapley, split))
    assert all(torch.allclose(here[m], there[m], atol=1e-14) for m in here)
    assert torch.allclose(shapley.run().flat.data, split.run().flat.data, atol=1e-12)


@given(st.lists(st.floats(0, 5), min_size=2, max_size=5))
def test_lags(scores):
    r = lags({str(i): torch.tensor(s, dtype=torch.float64) for i, s in enumerate(scores)})
    assert math.prod(float(v) for v in r.values()) == pytest.approx(1, rel=1e-9)
    if len(scores) == 2:
        assert float(r["0"]) == pytest.approx(math.exp(scores[1] - scores[0]))


def test_agm_slows_who_does_better_than_usual_and_caps_the_rest():
    method = AGM(1.0, cap=0.5)
    trainer(method)
    at = {m: torch.full((3,), 1.0, dtype=torch.float64) for m in "abc"}
    first = method._coefficients(at)
    assert all(torch.equal(k, torch.ones(3, dtype=torch.float64)) for k in first.values())
    better = method._coefficients({**at, "a": at["a"] - 0.8})
    assert (better["a"] < 1).all()
    assert (better["b"] > 1).all()
    assert all((k <= math.exp(0.5) + 1e-12).all() and (k > 0).all() for k in better.values())
    named = method._coefficients({**at, "a": at["a"] + 50.0})
    assert all((k <= math.exp(0.5) + 1e-12).all() for k in named.values())


class Known(AGM):
    """AGM with coefficients that are known."""

    kappa = {"a": 0.25, "b": 1.0, "c": 3.0}

    def _coefficients(self, scores):
        return {m: torch.full((3,), self.kappa[m], dtype=torch.float64) for m in scores}


def test_agm_multiplies_each_encoders_gradient_and_its_block_of_the_head():
    plain, scaled = (
        trainer(m, epochs=1, batch_size=24, momentum=0.0, weight_decay=0.0) for m in (Joint(), Known(clip=math.inf))
    )
    start = plain.flat.data.clone()
    moves = [run.run().flat.data - start for run in (plain, scaled)]
    for m, kappa in Known.kappa.items():
        columns = plain.flat.columns[m]
        assert torch.allclose(moves[1][:, columns], kappa * moves[0][:, columns], atol=1e-14)


def test_agms_clip_bounds_the_move_and_leaves_zero_strengths_alone():
    settings = {"epochs": 1, "batch_size": 24, "momentum": 0.0, "weight_decay": 0.0}
    start = trainer(Joint(), **settings).flat.data.clone()
    plain = trainer(Joint(), **settings).run().flat.data - start
    mixed = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    held = trainer(AGM(mixed, clip=0.01), **settings).run().flat.data - start
    assert torch.equal(held[0], plain[0])
    assert torch.allclose(held[1:].norm(dim=-1), torch.full((2,), 0.05 * 0.01, dtype=torch.float64))
    assert torch.allclose(torch.cosine_similarity(held, plain, dim=-1), torch.ones(3, dtype=torch.float64))
    free = trainer(AGM(mixed, clip=math.inf), **settings).run().flat.data - start
    assert torch.equal(free, plain)


def test_agms_first_step_is_joint_training():
    runs = [trainer(m, epochs=1, batch_size=24).run().flat.data for m in (Joint(), AGM(2.0, clip=math.inf))]
    assert torch.equal(*runs)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=5), st.integers(0, 30), st.floats(0, 1))
def test_only_the_leader_is_masked_and_never_beyond_p(scores, epoch, p):
    method = AMCo(p, ramp=10)
    named = {str(i): torch.tensor([s]) for i, s in enumerate(scores)}
    q = {m: float(v) for m, v in method.probabilities(named, epoch).items()}
    now = p * math.sin(math.pi / 2 * min(1.0, (epoch + 1) / 10))
    for m, s in named.items():
        leads = float(s) == max(map(float, named.values()))
        assert q[m] == pytest.approx(now if leads and len(set(map(float, named.values()))) > 1 else 0.0)


def test_at_balance_nobody_is_masked():
    q = AMCo(1.0, ramp=1).probabilities({m: torch.tensor([0.3]) for m in "abc"}, 5)
    assert all(v == 0 for v in q.values())


class Masked(AMCo):
    """Records which samples were masked."""

    def on_features(self, step):
        before = dict(step.features)
        super().on_features(step)
        self.gone = {m: (z == 0).all(-1) & (before[m] != 0).any(-1) for m, z in step.features.items()}


def test_masks_have_their_rate_and_leave_everybody_something():
    method = Masked(0.6, ramp=1)
    trainer(method, n=4000, epochs=1, batch_size=4000).run()
    rate = torch.stack([gone.double().mean(-1) for gone in method.gone.values()])
    leader, rest = rate.sort(0, descending=True).values.tensor_split([1])
    # Bernoulli draws at 0.6: five and a half standard errors.
    assert ((leader - 0.6).abs() <= 5.5 * math.sqrt(0.24 / 4000)).all()
    assert (rest == 0).all()


def test_with_certain_masks_of_all_leaders_nothing_is_lost():
    method = Masked(1.0, ramp=1)
    run = trainer(method, epochs=1)
    run.run()
    assert not torch.stack(list(method.gone.values())).all(0).any()


def test_inforeg_has_no_force_at_its_anchor():
    runs = [trainer(m, epochs=3, batch_size=24).run().flat.data for m in (Joint(), InfoReg(5.0, gap=0.0))]
    assert torch.equal(*runs)


def test_inforeg_pulls_the_leader_alone_and_back():
    settings = {"epochs": 1, "batch_size": 12, "momentum": 0.0, "weight_decay": 0.0}

    class Spy(InfoReg):
        def on_gradients(self, step, gradients):
            plain = gradients.total().clone()
            total = super().on_gradients(step, gradients)
            self.flat, self.force = gradients.flat, total - plain
            self.away = gradients.flat.data.clone() - start
            return total

    spy = Spy(2.0, gap=0.0)
    run = trainer(spy, **settings)
    start = run.flat.data.clone()
    run.run()
    pulled = torch.stack([spy.force[:, spy.flat.columns[m]].norm(dim=-1) > 0 for m in "abc"])
    assert (pulled.sum(0) >= 1).all()
    assert (pulled.sum(0) <= 2).all()
    for k, m in enumerate("abc"):
        force, away = (t[:, spy.flat.columns[m]][pulled[k]] for t in (spy.force, spy.away))
        share = force.norm(dim=-1) / away.norm(dim=-1)
        assert torch.allclose(force, share.unsqueeze(-1) * away)
        assert ((share > 2.0) & (share < 2.0 * math.e)).all()
    assert torch.equal(
        spy.force[:, spy.flat.columns["shared"]], torch.zeros_like(spy.away[:, spy.flat.columns["shared"]])
    )


def test_inforeg_strengths_by_name_and_window():
    nobody = trainer(InfoReg({"other": 5.0}, gap=0.0), epochs=2).run().flat.data
    over = trainer(InfoReg(5.0, gap=0.0, window=0), epochs=2).run().flat.data
    joint = trainer(Joint(), epochs=2).run().flat.data
    assert torch.equal(nobody, joint)
    assert torch.equal(over, joint)


@pytest.mark.parametrize(
    "bad",
    [lambda: AGM(-1.0), lambda: AMCo(1.5), lambda: AMCo(ramp=0), lambda: InfoReg(-1.0), lambda: InfoReg({"a": -1})],
)
def test_bad_settings_are_refused(bad):
    with pytest.raises(ArgumentError, match="expected"):
        bad()
