"""What diagnoses say where the answer is known exactly: readouts, gradients in population, games of enumerated tables."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtheory.batch import Batch
from mmtheory.diagnose import (
    coalition_scores,
    conditional_utilisation,
    decay,
    diagnose,
    explained,
    follow,
    gradient_report,
    hits,
    ridge_scores,
    trained_shapley,
    unimodal_probes,
)
from mmtheory.errors import ArgumentError
from mmtheory.methods import METHODS, OGM, Joint, LinearSplit, ShapleyShares
from mmtheory.models import FUSIONS, DeepLinearEncoder, MLPEncoder, MultimodalModel
from mmtheory.models.fusion import Fusion
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer

F64 = torch.float64
seeds = st.integers(0, 2**32)
few = settings(max_examples=10)


def close(a, b, tolerance=1e-10):
    return bool(((a - b).abs() <= tolerance * (1 + b.abs())).all())


# Readouts


@few
@given(seed=seeds, classes=st.integers(2, 4), d=st.integers(1, 5))
def test_without_ridge_the_readout_is_least_squares(seed, classes, d):
    draws = Stream(seed).draws(range(3))
    z, y, fresh = draws.normal("z", 20, d), draws.integers("y", classes, 20), draws.normal("fresh", 7, d)
    found = ridge_scores(z, y, fresh, classes, ridge=0.0)
    for r in range(3):
        ones = torch.ones(20, 1, dtype=F64)
        known = torch.linalg.lstsq(torch.cat([z[r], ones], -1), torch.nn.functional.one_hot(y[r], classes).to(F64))
        assert close(found[r], torch.cat([fresh[r], ones[:7]], -1) @ known.solution, 1e-8)
        assert close(found[r], ridge_scores(z[r], y[r], fresh[r], classes, ridge=0.0))
    assert close(found.sum(-1), torch.ones(3, 7, dtype=F64), 1e-8)


@few
@given(seed=seeds, scale=st.sampled_from([1e-6, 0.1, 30.0]), ridge=st.sampled_from([1e-3, 1.0]))
def test_a_readout_does_not_hear_how_loud_features_are(seed, scale, ridge):
    draws = Stream(seed).draws()
    z, y, shift = draws.normal("z", 20, 3), draws.integers("y", 3, 20), draws.normal("shift", 3)
    known = ridge_scores(z, y, z, 3, ridge=ridge)
    assert close(ridge_scores(z * scale, y, z * scale, 3, ridge=ridge), known, 1e-7)
    assert close(ridge_scores(z + shift, y, z + shift, 3, ridge=ridge), known, 1e-7)
    turn = torch.linalg.qr(draws.normal("turn", 3, 3)).Q
    assert close(ridge_scores(z @ turn, y, z @ turn, 3, ridge=ridge), known, 1e-7)


def test_constant_features_leave_the_prior():
    y = torch.tensor([0, 0, 0, 1])
    found = ridge_scores(torch.full((4, 2), 5.0), y, torch.zeros(3, 2), 2)
    assert close(found, torch.tensor([0.75, 0.25], dtype=F64).expand(3, 2))
    assert hits(found, torch.tensor([0, 1, 0])).tolist() == [1.0, 0.0, 1.0]
    with pytest.raises(ArgumentError, match="ridge"):
        ridge_scores(torch.zeros(4, 2), y, torch.zeros(3, 2), 2, ridge=-1.0)


def test_probes_find_what_is_linearly_there_and_nothing_else():
    draws = Stream(0).draws(range(2))
    y = draws.integers("y", 3, 60)
    x = {"told": torch.nn.functional.one_hot(y, 3).to(F64), "deaf": torch.zeros(2, 60, 3, dtype=F64)}
    model = identity_model(("told", "deaf"), 3, classes=3, replicates=2)
    found = unimodal_probes(model, Batch(x, y), Batch(x, y))
    assert found["told"].mean(-1).tolist() == [1.0, 1.0]
    commonest = torch.nn.functional.one_hot(y, 3).to(F64).mean(-2).amax(-1)
    assert close(found["deaf"].mean(-1), commonest)


# Gradients in population: theory §10 in a linear world


def identity_model(names, width, *, classes, replicates, fusion=None):
    draws = Stream(0).draws(range(replicates))
    encoders = {m: DeepLinearEncoder((width, width), draws=draws, name=m, dtype=F64) for m in names}
    head = fusion or FUSIONS["sum"](dict.fromkeys(names, width), classes, draws=draws, dtype=F64)
    model = MultimodalModel(encoders, head, batch_shape=(replicates,))
    with torch.no_grad():
        for m in names:
            for p in model.owned(m):
                if p.shape[-2:] == (width, width):
                    p.copy_(torch.eye(width, dtype=F64).expand_as(p))
    return model


def squared(logits, y):
    return 0.5 * (y - logits.squeeze(-1)) ** 2


@few
@given(seed=seeds, d=st.integers(1, 3))
def test_gradients_and_conflicts_are_those_of_the_population(seed, d):
    """Scalar late fusion, weights w: ∇f_0 = Σw − Σ_y and ∇f_m = Σ_mm w_m − Σ_my; samples whose moments are exactly Σ."""
    draws, n, k = Stream(seed).draws(range(2)), 16, 2 * d + 1
    raw = draws.normal("raw", n, k)
    raw = raw - raw.mean(-2, keepdim=True)
    white = torch.linalg.qr(raw).Q * math.sqrt(n)
    mix = draws.normal("mix", k, k)
    data, sigma = white @ mix, mix.mT @ mix
    x = {"a": data[..., :d], "b": data[..., d : 2 * d]}
    encoders = {m: DeepLinearEncoder((d, 1), draws=draws, name=m, dtype=F64) for m in x}
    model = MultimodalModel(encoders, FUSIONS["sum"](dict.fromkeys(x, 1), 1, draws=draws, dtype=F64), batch_shape=(2,))
    with torch.no_grad():
        for m in x:
            model.fusion.heads[m].weight.fill_(1.0)
            model.fusion.heads[m].bias.zero_()
    report = gradient_report(model, Batch(x, data[..., -1]), contribution=LinearSplit(), loss=squared)
    w = torch.cat([model.encoders[m].product() for m in x], -2).detach()
    joint = sigma[..., :-1, :-1] @ w - sigma[..., :-1, -1:]
    for m, rows in (("a", slice(0, d)), ("b", slice(d, 2 * d))):
        own = sigma[..., rows, rows] @ w[..., rows, :] - sigma[..., rows, -1:]
        cosine = (
            (own * joint[..., rows, :]).sum((-2, -1)) / own.norm(dim=(-2, -1)) / joint[..., rows, :].norm(dim=(-2, -1))
        )
        assert close(report.cosines[m], cosine, 1e-7)
        assert torch.equal(report.conflicts[m], cosine < 0)
        assert close(report.own_norms[m], own.norm(dim=(-2, -1)), 1e-8)
    assert set(report.norms) == {"a", "b"}, "the sum's heads are their modalities' own"


@few
@given(seed=seeds)
def test_norms_are_by_owner_and_stacked_is_separate(seed):
    def build(draws):
        encoders = {m: MLPEncoder((4, 3), draws=draws, name=m, dtype=F64) for m in "abc"}
        return MultimodalModel(
            encoders, FUSIONS["film"](dict.fromkeys("abc", 3), 3, draws=draws, dtype=F64), batch_shape=draws.batch_shape
        )

    draws = Stream(seed).draws(range(2))
    data = Batch({m: draws.normal(m, 6, 4) for m in "abc"}, draws.integers("y", 3, 6))
    model = build(Stream(seed).child("init").draws(range(2)))
    report = gradient_report(model, data)
    assert set(report.norms) == {"a", "b", "c", "shared"}
    for r in range(2):
        alone = build(Stream(seed).child("init").child(r).draws())
        own = gradient_report(alone, Batch({m: v[r] for m, v in data.x.items()}, data.y[r]))
        assert all(close(report.norms[o][r], own.norms[o]) for o in report.norms)
        assert all(close(report.cosines[m][r], own.cosines[m], 1e-8) for m in "abc")
    shapley = gradient_report(model, data, contribution=ShapleyShares())
    assert not close(shapley.own_norms["a"], report.own_norms["a"])
    with pytest.raises(ArgumentError, match="not a sum"):
        gradient_report(model, data, contribution=LinearSplit())


# Games of enumerated tables


class Rule(Fusion):
    """Two bits as ±1 in, the logit of a rule out; an absent bit is 0."""

    classes = 2

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, features):
        logit = self.rule(features["a"], features["b"])
        return torch.cat([torch.zeros_like(logit), logit], -1)


BITS = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=F64)
GAMES = {
    "xor": (lambda a, b: -a * b, [0, 1, 1, 0], [0.5, 0.5, 0.5, 1.0]),
    "and": (lambda a, b: a + b - 1.5, [0, 0, 0, 1], [0.75, 0.75, 0.75, 1.0]),
    "or": (lambda a, b: a + b + 1.5, [0, 1, 1, 1], [0.75, 0.75, 0.75, 1.0]),
    "only a": (lambda a, b: a + 0 * b, [0, 0, 1, 1], [0.5, 1.0, 0.5, 1.0]),
}


@pytest.mark.parametrize("game", sorted(GAMES))
def test_a_models_game_is_its_tables(game):
    rule, y, (nobody, a, b, both) = GAMES[game]
    model = identity_model("ab", 1, classes=2, replicates=2, fusion=Rule(rule))
    data = Batch(
        {m: BITS[None, :, i : i + 1].expand(2, -1, -1) for i, m in enumerate("ab")}, torch.tensor(y).expand(2, 4)
    )
    scores = coalition_scores(model, data)
    known = {frozenset(): nobody, frozenset("a"): a, frozenset("b"): b, frozenset("ab"): both}
    assert {s: v.tolist() for s, v in scores.items()} == {s: [v, v] for s, v in known.items()}
    value = trained_shapley(scores)
    assert close(value["a"], torch.tensor((a - nobody + both - b) / 2, dtype=F64).expand(2))
    assert close(value["a"] + value["b"], scores[frozenset("ab")] - scores[frozenset()])
    use = conditional_utilisation(scores)
    assert use["a"].tolist() == [(both - b) / both] * 2
    assert use["b"].tolist() == [(both - a) / both] * 2


def test_two_copies_are_used_and_replaceable():
    model = identity_model("ab", 1, classes=2, replicates=1, fusion=Rule(lambda a, b: a + b))
    data = Batch({m: torch.tensor([[[-1.0], [1.0]]], dtype=F64) for m in "ab"}, torch.tensor([[0, 1]]))
    scores = coalition_scores(model, data)
    assert [float(v) for v in conditional_utilisation(scores).values()] == [0.0, 0.0]
    assert [float(v) for v in trained_shapley(scores).values()] == [0.25, 0.25]


@few
@given(seed=seeds, m=st.integers(2, 4))
def test_the_likelihood_game_sums_to_what_the_model_gained(seed, m):
    names = "abcd"[:m]
    draws = Stream(seed).draws(range(2))
    encoders = {k: MLPEncoder((4, 3), draws=draws, name=k, dtype=F64) for k in names}
    fused = FUSIONS["gmu"](dict.fromkeys(names, 3), 3, draws=draws, dtype=F64)
    model = MultimodalModel(encoders, fused, batch_shape=(2,))
    fresh = Stream(seed).child("data").draws(range(2))
    data = Batch({k: fresh.normal(k, 6, 4) for k in names}, fresh.integers("y", 3, 6))
    scores = coalition_scores(model, data, score="log-likelihood")
    assert len(scores) == 2**m
    total = sum(trained_shapley(scores).values())
    assert close(total, scores[frozenset(names)] - scores[frozenset()])
    whole = model(data.x).logits.log_softmax(-1).gather(-1, data.y.unsqueeze(-1)).mean((-2, -1))
    assert close(scores[frozenset(names)], whole)


def test_missing_subsets_and_unknown_scores_are_refused():
    with pytest.raises(ArgumentError, match="without 'a'"):
        conditional_utilisation({frozenset("ab"): torch.ones(())})
    with pytest.raises(ArgumentError, match="every subset"):
        trained_shapley({frozenset("ab"): torch.ones(())})
    with pytest.raises(ArgumentError, match="accuracy or log-likelihood"):
        coalition_scores(identity_model("ab", 1, classes=2, replicates=1), None, score="f1")


# Traces


def trainer(method=None, epochs=4, replicates=2):
    def build(draws):
        encoders = {m: MLPEncoder((4, 6, 3), draws=draws, name=m, dtype=F64) for m in "ab"}
        return MultimodalModel(
            encoders, FUSIONS["sum"](dict.fromkeys("ab", 3), 3, draws=draws, dtype=F64), batch_shape=draws.batch_shape
        )

    draws = Stream(3).draws(range(replicates))
    y = draws.integers("y", 3, 40)
    x = {m: draws.normal(m, 40, 4) for m in "ab"}
    x["a"][..., :3] += 3 * torch.nn.functional.one_hot(y, 3)
    settings = Settings(epochs=epochs, batch_size=10, lr=0.1)
    return Trainer(
        build, method or Joint(), Batch(x, y), settings=settings, stream=Stream(4), replicates=range(replicates)
    )


@pytest.mark.parametrize("method", [Joint(), OGM(0.5), METHODS["opm"](0.5)], ids=lambda m: m.card.name)
def test_following_a_run_does_not_touch_it(method):
    plain, followed = trainer(method).run(), trainer(method)
    trace = follow(followed)
    assert torch.equal(plain.flat.data, followed.flat.data)
    assert trace.ratios["a"].shape == (2, 4)
    assert close(trace.ratios["a"] * trace.ratios["b"], torch.ones(2, 4, dtype=F64))
    last = gradient_report(followed.model, followed.train_data)
    assert close(trace.norms["a"][:, -1], last.norms["a"])
    assert bool((trace.ratios["a"][:, -1] > 1).all()), "the modality that says more is ahead"
    with pytest.raises(ArgumentError, match="at least one epoch"):
        follow(followed)


@few
@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=6), st.floats(0.1, 10))
def test_decay_is_a_share_of_the_largest_lead(values, factor):
    ratio = torch.tensor(values, dtype=F64)
    assert 0 <= float(decay(ratio)) < 1
    assert close(decay(factor * ratio), decay(ratio))
    assert float(decay(ratio.sort().values)) == 0


# The refusals and the single model


@few
@given(seeds)
def test_numbers_are_read_by_least_squares_and_shares_add_up(seed):
    draws = Stream(seed).draws(range(2))
    x = {m: draws.normal(m, 60, d) for m, d in (("a", 2), ("b", 3))}
    y = x["a"][..., 0] - 2 * x["b"][..., 1] + 0.3 * draws.normal("y", 60)
    part = Batch(x, y)
    design = torch.cat([x["b"], torch.ones(2, 60, 1, dtype=torch.float64)], -1)
    fitted = design @ torch.linalg.lstsq(design, y.unsqueeze(-1)).solution
    read = ridge_scores(x["b"], y, x["b"], 1, ridge=0.0)
    torch.testing.assert_close(read, fitted)
    share = explained(read, y).mean(-1)
    torch.testing.assert_close(share, 1 - ((y - fitted.squeeze(-1)) ** 2).mean(-1) / y.var(-1, correction=0))

    def build(drawn):
        encoders = {
            m: DeepLinearEncoder((d, 4), draws=drawn, name=m, dtype=torch.float64) for m, d in (("a", 2), ("b", 3))
        }
        head = FUSIONS["concat"]({"a": 4, "b": 4}, 1, draws=drawn, dtype=torch.float64)
        return MultimodalModel(encoders, head, batch_shape=drawn.batch_shape)

    run = Trainer(
        build,
        Joint(),
        part,
        settings=Settings(epochs=3, lr=0.01, loss="squared"),
        stream=Stream(1),
        replicates=range(2),
    )
    seen = follow(run)
    assert seen.ratios == {}
    apart = y - y.mean(-1, keepdim=True)
    whole = (run.predict(part).squeeze(-1) * apart).mean(-1) / apart.square().mean(-1)
    torch.testing.assert_close(seen.scores["a"][..., -1] + seen.scores["b"][..., -1], whole)
    one = Batch({m: v[0] for m, v in x.items()}, y[0])
    single = Trainer(build, Joint(), one, settings=Settings(epochs=1, loss="squared"), stream=Stream(1))
    with pytest.raises(ArgumentError, match="expected several replicates for numbers"):
        diagnose(single, one)


def test_one_model_is_diagnosed_by_its_test_samples():
    several = trainer()
    data = several.train_data
    one = Trainer(
        lambda d: several.build(d),
        Joint(),
        Batch({m: v[0] for m, v in data.x.items()}, data.y[0]),
        settings=several.settings,
        stream=Stream(4),
    )
    found = diagnose(one, Batch({m: v[0] for m, v in data.x.items()}, data.y[0]))
    assert found.best == "a"
    assert found.gaps["a"].information.width == 0
    assert found.gaps["b"].heard.shape == ()
    assert found.gaps["b"].cause == "undecided", "forty samples say little"
    assert str(found).count("\n") == 1


def test_what_only_an_encoder_alone_can_read_is_not_taken_for_missing():
    """Modality a tells the label by the sign of a product, which no line through its input separates; b tells it aloud."""
    draws, n, replicates = Stream(8).draws(range(48)), 400, 48
    y = draws.integers("y", 2, 2 * n)
    sign, label = draws.signs("sign", 2 * n), 2.0 * y - 1
    x = {"a": torch.stack([sign, sign * label], -1), "b": torch.stack([10 * label, 0 * label], -1)}
    x = {m: v + 0.2 * draws.normal(m, 2 * n, 2) for m, v in x.items()}

    def part(rows):
        return Batch({m: v[:, rows] for m, v in x.items()}, y[:, rows])

    def build(draws):
        encoders = {m: MLPEncoder((2, 16, 2), draws=draws, name=m, dtype=F64, activate=False) for m in "ab"}
        head = FUSIONS["sum"](dict.fromkeys("ab", 2), 2, draws=draws, dtype=F64)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    settings = Settings(epochs=20, batch_size=20, lr=0.05)
    run = Trainer(build, Joint(), part(slice(0, n)), settings=settings, stream=Stream(9), replicates=range(replicates))
    found = diagnose(run, part(slice(n, None)))
    raw = hits(ridge_scores(x["a"][:, :n], y[:, :n], x["a"][:, n:], 2), y[:, n:])
    assert float(raw.mean()) < 0.75, "a line is right on at most three of four clusters"
    assert float(found.gaps["a"].readable.mean()) > 0.95
    assert (found.gaps["a"].cause, found.gaps["b"].cause) == ("speed", "none"), str(found)


@pytest.mark.parametrize("kw", [{"alpha": 0.0}, {"alpha": 1.0}, {"margin": -0.1}])
def test_settings_out_of_range_are_refused(kw):
    with pytest.raises(ArgumentError, match="diagnose: expected"):
        diagnose(trainer(), trainer().train_data, **kw)


def test_stopped_replicates_are_left_out_and_all_of_them_refused():
    run = trainer(epochs=2, replicates=3).run()
    whole = diagnose(run, run.train_data)
    run.alive[0] = False
    fewer = diagnose(run, run.train_data)
    assert whole.gaps["b"].speed != fewer.gaps["b"].speed
    run.alive[:] = False
    with pytest.raises(ArgumentError, match="finite"):
        diagnose(run, run.train_data)
