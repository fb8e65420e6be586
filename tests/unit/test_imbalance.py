"""The laboratory: pairing, validation-based choice of the learning rate, rows, slopes, refusals."""

import json

import pytest
import torch

from mmtheory.errors import ArgumentError
from mmtheory.experiment import Serial, Store, summary
from mmtheory.methods import METHODS
from mmtheory.rng import Stream
from synthetic.experiments._ensemble import _over_seeds, measure
from synthetic.experiments._inputs import parts, world_at
from synthetic.experiments._networks import maps, phase_networks
from synthetic.experiments._run import run
from synthetic.experiments.exact import mechanisms
from synthetic.experiments.gaps import gaps
from synthetic.experiments.imbalance import Axis, Measured, Plan, slopes, with_neutral
from synthetic.worlds import DeepLinear, Table, TwoDials

SPEED = Axis("speed", ({"speed": 0.0}, {"speed": 2.0}))


def small(**changes):
    return Plan(
        **{
            "axes": (SPEED,),
            "methods": ("ogm",),
            "seeds": 3,
            "epochs": 2,
            "sizes": (96, 32, 64),
            "rates": (0.02, 0.1),
            **changes,
        }
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "run"
    return run(small(), folder, lambda _count: Serial())


def test_rows_have_the_promised_shape(ran):
    assert not ran.failures
    row = ran.found["rows"][0]
    assert set(row) >= {"method", "dial", "level", "metric", "mean", "low", "high", "delta_joint", "seeds"}
    assert set(row["delta_joint"]) == {"mean", "low", "high"}
    assert {r["method"] for r in ran.found["rows"]} == {"joint", "unimodal", "uniform", "ume", "ogm"}
    assert {r["level"] for r in ran.found["rows"]} == {0.0, 2.0}
    assert all(r["delta_joint"]["mean"] == 0 for r in ran.found["rows"] if r["method"] == "joint")
    for name in ("results.json", "cells.parquet", "report.html", "run.json"):
        assert (ran.folder / name).stat().st_size > 0
    assert "<svg" in (ran.folder / "report.html").read_text()


def test_a_stopped_run_goes_on_to_the_same_numbers(ran, tmp_path):
    plan, folder = small(), tmp_path / "run"
    cells = list(plan.cells())
    kept = Store(ran.folder)
    run(plan, folder, lambda _count: Serial())
    for cell in cells[:2]:
        Store(folder).path(cell).unlink()
    again = run(plan, folder, lambda _count: Serial(), resume=True)
    assert json.dumps(again.found) == json.dumps(ran.found)
    assert all(Store(folder).get(c).measured == kept.get(c).measured for c in cells)


def test_an_ensemble_is_its_seeds_alone():
    factors = next(iter(small().cells())).factors
    whole = measure(factors, lambda _epoch: None)
    last = measure(
        {**factors, "seeds": [2], "points": factors["points"][1:], "rates": factors["rates"][:1]}, lambda _epoch: None
    )
    for metric, value in last["metrics"].items():
        assert value[0][0][0] == pytest.approx(whole["metrics"][metric][1][0][2], abs=0.02)


def test_seeds_are_paired_over_levels():
    drawn = parts([TwoDials(), TwoDials(speed=1.0)], (8, 4, 4), stream=Stream(0), seeds=[0, 1])
    assert drawn.train.y[0].equal(drawn.train.y[2])
    assert drawn.train.x["b"][1].equal(drawn.train.x["b"][3])
    assert not drawn.train.x["a"][1].equal(drawn.train.x["a"][3])
    assert drawn.classes == 8


def test_symbols_become_one_hot():
    drawn = parts([Table("sum")], (8, 4, 4), stream=Stream(0), seeds=[0])
    assert drawn.train.x["a"].shape == (1, 8, 2)
    assert drawn.train.x["a"].sum(-1).eq(1).all()
    assert drawn.classes == 3


def test_the_rate_is_chosen_by_validation_and_ties_take_the_first():
    metrics = {
        "joint": {
            "validation": [[[0.5, 0.7], [0.9, None], [0.6, 0.6]]],
            "accuracy": [[[1.0, 2.0], [3.0, None], [5.0, 6.0]]],
        }
    }
    one = Measured(Axis("speed", ({"speed": 0.0},)), metrics, {}, (0.1, 0.2, 0.3))
    assert one.chosen("joint", 0) == 0
    assert one.values("joint", "accuracy", 0) == [1.0, 2.0]


def test_slopes_are_tested_by_sign_flips():
    flat = [[[0.5] * 6]] * 3
    rising = [[[0.5 + 0.1 * k + 0.01 * s for s in range(6)]] for k in range(3)]
    axis = Axis("speed", tuple({"speed": float(k)} for k in range(3)))
    metrics = {"joint": {"validation": flat, "accuracy": flat}, "ogm": {"validation": flat, "accuracy": rising}}
    (row,) = slopes([Measured(axis, metrics, {}, (0.1,))])
    assert row["mean"] == pytest.approx(0.1)
    assert row["p"] == pytest.approx(2 / 64)
    assert row["p_holm"] == row["p"]


def test_the_dial_at_rest_is_added():
    assert with_neutral("two-dials", {}, Axis("speed", ({"speed": 2.0},))).levels == [0.0, 2.0]
    assert with_neutral("two-dials", {"speed": 2.0}, Axis("speed", ({"speed": 2.0},))).levels == [2.0]


def test_a_level_moves_the_first_modality():
    assert world_at("gaussian-discriminant", {}, {"d2": 4.0}).d2 == (4.0, 0.36)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"methods": ("nope",)}, "expected a method among"),
        ({"fusion": "nope"}, "expected a fusion among"),
        ({"optimiser": "nope"}, "expected a optimiser among"),
        ({"seeds": 1}, "2 to 40 seeds"),
        ({"rates": (0.0,)}, "learning rates > 0"),
        (
            {"world": "deep-linear", "axes": (Axis("rho", ({"rho": 0.1},)),)},
            "probabilities of the true label.*joint, .*with --sign deep-linear asks for the sign",
        ),
        ({"methods": ("moo:nope",)}, "moo: and one of aligned"),
        (
            {"world": "saturation", "axes": (Axis("presence", ({"presence": 0.1},)),)},
            "saturation: expected a dial that holds numbers or words, found presence, which holds lists",
        ),
        ({"axes": (Axis("nope", ({"nope": 0.1},)),)}, "expected a dial among"),
        ({"axes": (Axis("speed", ({"speed": -1.0},)),)}, "speed and information >= 0"),
    ],
)
def test_refusals(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        small(**changes)


def test_one_value_has_no_interval():
    assert summary([0.5]) == {"mean": 0.5, "low": None, "high": None}


@pytest.mark.parametrize("broken", ["ogm", "joint"])
def test_an_ensemble_that_fails_is_told_and_the_others_stand(broken, tmp_path, monkeypatch):
    class Refusing(METHODS[broken]):
        def bind(self, model, draws):
            raise ArgumentError(f"{broken}: expected another fusion, found this one")

    monkeypatch.setattr(
        "synthetic.experiments._ensemble.made", lambda name: Refusing() if name == broken else METHODS[name]()
    )
    ran = run(small(), tmp_path / "run", lambda _count: Serial())
    assert ran.failures == {f"{broken}, speed": f"{broken}: expected another fusion, found this one"}
    assert {r["method"] for r in ran.found["rows"]} == {"joint", "unimodal", "uniform", "ume", "ogm"} - {broken}
    differences = [r["delta_joint"]["mean"] for r in ran.found["rows"] if r["method"] != "joint"]
    assert all((d is None) is (broken == "joint") for d in differences)
    assert (tmp_path / "run/report.html").exists()


def test_traces_have_intervals(ran):
    for trace in ran.found["traces"]:
        assert len(trace["mean"]) == len(trace["low"]) == len(trace["high"]) == 2
        assert all(
            low <= mean <= high for low, mean, high in zip(trace["low"], trace["mean"], trace["high"], strict=True)
        )


def test_only_separate_trainings_choose_a_rate_for_each_probe():
    assert {name for name, kind in METHODS.items() if kind.separate} == {"unimodal", "ume"}
    held = {"validation": [[[0.9], [0.1]]], "validation probe a": [[[0.1], [0.9]]], "probe a": [[[1.0], [2.0]]]}
    one = Measured(Axis("speed", ({"speed": 0.0},)), {"ume": held, "joint": held}, {}, (0.1, 0.2))
    assert one.values("ume", "probe a", 0) == [2.0]
    assert one.values("joint", "probe a", 0) == [1.0]


def test_each_level_says_which_gap_it_is_with_its_evidence(ran):
    told = ran.found["gaps"]
    assert [(g["level"], g["modality"]) for g in told] == [(0.0, "a"), (0.0, "b"), (2.0, "a"), (2.0, "b")]
    for g in told:
        assert g["cause"] in {"none", "speed", "information", "speed and information", "undecided"}
        for kind in ("speed", "information"):
            assert g[kind]["low"] <= g[kind]["mean"] <= g[kind]["high"]
        assert g["speed"]["mean"] == pytest.approx(g["readable"] - g["heard"])
    cause = {(g["level"], f"probe {g['modality']}"): g["cause"] for g in told}
    assert all(r["gap"] == cause.get((r["level"], r["metric"])) for r in ran.found["rows"])
    assert {r["metric"].split(" ")[0] for r in ran.found["rows"]} == {"accuracy", "probe", "without"}
    heard = {(r["level"], r["metric"]): r["mean"] for r in ran.found["rows"] if r["method"] == "joint"}
    assert all(g["heard"] == pytest.approx(heard[g["level"], f"probe {g['modality']}"]) for g in told)
    page = (ran.folder / "report.html").read_text()
    assert "Which gap" in page
    assert "NaN" not in page


def measured(joint, unimodal, raw):
    """Two seeds, one level, one rate; a number is that of both seeds."""

    def metrics(values):
        return {name: [[[value, value]]] for name, value in values.items()}

    held = {"validation": 1.0, "validation probe a": 1.0, "validation probe b": 1.0}
    heard = {f"probe {m}": v for m, v in joint.items()} | {f"raw {m}": v for m, v in raw.items()}
    decays = {"decay a": 0.0, "decay b": 0.25}
    alone = {f"probe {m}": v for m, v in unimodal.items()}
    ensembles = {"joint": metrics(held | heard | decays), "unimodal": metrics(held | alone)}
    return Measured(Axis("speed", ({"speed": 0.0},)), ensembles, {}, (0.1,))


@pytest.mark.parametrize(
    ("joint", "unimodal", "raw", "cause"),
    [
        ({"a": 0.5, "b": 0.9}, {"a": 0.9, "b": 0.9}, {"a": 0.5, "b": 0.9}, "speed"),
        ({"a": 0.5, "b": 0.9}, {"a": 0.5, "b": 0.9}, {"a": 0.9, "b": 0.9}, "speed"),
        ({"a": 0.5, "b": 0.9}, {"a": 0.5, "b": 0.9}, {"a": 0.5, "b": 0.9}, "information"),
        ({"a": 0.5, "b": 0.9}, {"a": 0.7, "b": 0.9}, {"a": 0.5, "b": 0.9}, "speed and information"),
        ({"a": 0.9, "b": 0.9}, {"a": 0.9, "b": 0.9}, {"a": 0.5, "b": 0.9}, "none"),
    ],
)
def test_gaps_are_those_of_the_diagnosis(joint, unimodal, raw, cause):
    found = gaps(small(), measured(joint, unimodal, raw))
    assert [g["cause"] for g in found] == [cause, "none"]
    assert [g["decay"]["mean"] for g in found] == [0.0, 0.25]


def test_a_level_whose_seeds_all_stopped_has_no_diagnosis():
    one = measured({"a": None, "b": None}, {"a": 0.9, "b": 0.9}, {"a": 0.5, "b": 0.9})
    assert [g["cause"] for g in gaps(small(), one)] == [None, None]
    alone = Measured(one.axis, {"joint": one.metrics["joint"]}, {}, (0.1,))
    assert gaps(small(), alone) == []


LEARNT = {
    "time to learn a",
    "time to learn b",
    "later / earlier",
    "a is learnt first",
    "weight of the first while the other waits",
    "later / earlier, random start, flow",
}
EXACT = {
    "competition": ("strength", (1.0, 2.0), {"win a", "win b"}),
    "saturation": ("paired", (0.0, 0.3), {"joint risk", "ensemble risk"}),
    "deep-linear": ("rho", (0.0, 0.5), LEARNT),
    "selection-gaussian": ("lam", (0.0, 4.0), set()),
}


@pytest.mark.parametrize("world", sorted(EXACT))
def test_an_exact_worlds_answers_stand_beside_what_was_measured(world, tmp_path):
    dial, levels, quantities = EXACT[world]
    axis = Axis(dial, tuple({dial: level} for level in levels))
    plan = small(world=world, axes=(axis,), rates=(0.1,), seeds=2, methods=("mmpareto",))
    ran = run(plan, tmp_path / "run", lambda _count: Serial())
    assert not ran.failures
    assert {r["quantity"] for r in ran.found["mechanisms"]} == quantities
    for r in ran.found["mechanisms"]:
        # Intervals of 95 %; what is told here is that both sides speak of the same thing.
        half = max(r["high"] - r["low"], 1e-3)
        assert abs(r["mean"] - r["exact"]["low"]) <= 2 * half
    here = {(k["level"], k["quantity"], k["given"]): k["low"] for k in ran.found["known"]}
    assert {level for level, _, _ in here} == set(levels)
    for level in levels:
        law = world_at(world, {}, {dial: level})
        assert here[level, "bayes_risk", "ab"] == law.known("bayes_risk", "ab").low
        assert here[level, "unique", "a"] == law.known("unique", "a").low
    assert all(g["known"] is not None for g in ran.found["gaps"])
    page = (ran.folder / "report.html").read_text()
    assert "Known exactly at each level" in page
    assert ("its formula" in page) is bool(quantities)


def test_a_world_of_regression_gives_its_numbers_or_on_demand_their_sign():
    world = DeepLinear()
    numbers, signs = (parts([world], (40, 10, 10), stream=Stream(0), seeds=[0, 1], sign=sign) for sign in (False, True))
    raw = world.sample(60, stream=Stream(0), replicates=range(2))
    assert torch.equal(numbers.train.y, raw.y[:, :40].float())
    assert torch.equal(signs.train.y, (raw.y[:, :40] > 0).long())
    assert (numbers.numbers, numbers.classes, signs.numbers, signs.classes) == (True, 1, False, 2)


@pytest.fixture(scope="module")
def regressed(tmp_path_factory):
    axis = Axis("snr", ({"snr": 1.0}, {"snr": 3.0}))
    plan = small(world="gaussian-regression", axes=(axis,), methods=("mimo",), sizes=(512, 128, 1024), epochs=10)
    return run(plan, tmp_path_factory.mktemp("numbers") / "run", lambda _count: Serial())


def test_numbers_are_learnt_by_a_squared_loss_down_to_the_known_risk(regressed):
    assert not regressed.failures
    law = {level: world_at("gaussian-regression", {}, {"snr": level}) for level in (1.0, 3.0)}
    rows = {(r["method"], r["level"], r["metric"]): r for r in regressed.found["rows"]}
    for level, world in law.items():
        best, nothing = (world.known("bayes_risk", s).middle for s in ("ab", ""))
        for method in ("joint", "uniform", "mimo"):
            found = rows[method, level, "mse"]
            # Nobody beats the Bayes risk by more than the test samples' noise, and everybody learnt most of what can be known.
            assert 0.8 * best < found["mean"] < best + 0.25 * (nothing - best)
            assert found["delta_joint"]["low"] <= found["delta_joint"]["mean"] <= found["delta_joint"]["high"]
        alone = 1 - world.known("bayes_risk", "a").middle / nothing
        assert rows["unimodal", level, "probe a"]["mean"] == pytest.approx(alone, abs=0.12)
        assert rows["joint", level, "mse without a"]["mean"] > rows["joint", level, "mse"]["mean"]
    assert {r["metric"] for r in regressed.found["rows"]} == {
        "mse", "mse without a", "mse without b", "probe a", "probe b"
    }  # fmt: skip
    assert {t["trace"].split()[0] for t in regressed.found["traces"]} == {"share", "gradient", "cosine"}
    page = (regressed.folder / "report.html").read_text()
    assert "mean squared error at each level" in page
    assert "Mean squared error (less is better)" in page


def test_the_order_of_learning_turns_with_kappa():
    axis = Axis("kappa", ({"kappa": 0.5}, {"kappa": 2.0}))
    found = mechanisms(small(world="deep-linear", dials={"u0": 1e-3}, axes=(axis,), methods=()), axis)
    first = {r["level"]: (r["mean"], r["exact"]["low"]) for r in found if r["quantity"] == "a is learnt first"}
    assert first == {0.5: (0.0, 0.0), 2.0: (1.0, 1.0)}


def test_points_whose_networks_have_other_shapes_are_stacks_of_their_own(tmp_path):
    axis = Axis("fusion_layer", ({"fusion_layer": 1}, {"fusion_layer": 2}))
    plan = small(
        world="deep-linear", dials={"u0": 0.05}, axes=(axis,), methods=("joint",), rates=(0.02,), seeds=2, epochs=1
    )
    assert {len(c.factors["points"]) for c in plan.cells()} == {1}
    ran = run(plan, tmp_path / "run", lambda _count: Serial())
    assert not ran.failures
    assert {r["level"] for r in ran.found["rows"]} == {1, 2}
    more = Axis("count", ({"count": 2}, {"count": 3}))
    told = run(
        small(world="table", axes=(more,), methods=("joint",), rates=(0.02,), seeds=2, epochs=1),
        tmp_path / "more",
        lambda _count: Serial(),
    )
    assert not told.failures
    third = {r["level"]: r["seeds"] for r in told.found["rows"] if r["metric"] == "probe c" and r["method"] == "joint"}
    assert third == {2: 0, 3: 2}


def test_the_network_of_the_formulas_starts_as_they_do():
    for depth, layer in ((2, 2), (2, 1), (4, 2), (3, 3)):
        worlds = [DeepLinear(depth=depth, fusion_layer=layer, u0=u0, rho=0.5) for u0 in (0.01, 0.1)]
        model = phase_networks(worlds)(Stream(3).draws(range(2)))
        sizes = {o: [p.flatten(1).norm(dim=-1).tolist() for p in model.owned(o)] for o in model.owners}
        assert {len(v) for o, v in sizes.items() if o != "shared"} == {layer}
        assert len(sizes["shared"]) == depth - layer
        for norms in (*sizes["a"], *sizes["b"]):
            assert norms == pytest.approx([0.01, 0.1])
        for norms in sizes["shared"]:
            assert norms == pytest.approx([0.01 * 2**0.5, 0.1 * 2**0.5])
        start = {m: f[:, 0].tolist() for m, f in maps(model).items()}
        expected = [u0**depth * 2 ** ((depth - layer) / 2) for u0 in (0.01, 0.1)]
        assert start == {"a": pytest.approx(expected), "b": pytest.approx(expected)}


def test_seeds_that_stopped_are_counted_and_the_others_are_shown(tmp_path):
    found = run(small(rates=(1e6,)), tmp_path / "run", lambda _count: Serial())
    assert not found.failures
    for r in found.found["rows"]:
        assert r["stopped"] + r["seeds"] == 3
        assert (r["mean"] is None) is (r["stopped"] == 3)
    assert any(r["stopped"] == 3 for r in found.found["rows"])
    assert (tmp_path / "run/report.html").exists()
    some = _over_seeds(torch.tensor([[1.0, torch.nan], [3.0, 5.0], [2.0, torch.inf]]))
    assert some["mean"] == [2.0, 5.0]
    assert some["low"][1] is None
