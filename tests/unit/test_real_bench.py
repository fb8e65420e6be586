"""The benchmark: its rows, its pairing, its store, and that seeds side by side are seeds one after the other."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmtheory.errors import ArgumentError, DataError, MmtheoryError
from mmtheory.methods import METHODS
from real.bench import measure, one_by_one
from real.cli import bench as command
from real.data import DATASETS
from real.recipe import Recipe
from real.trainer import Fit
from real.tuning import combinations, tries

KEYS = {"dataset", "method", "fusion", "metric", "mean", "low", "high", "delta_joint", "unimodal", "seeds"}


@pytest.fixture
def double(tmp_path):
    return DATASETS["htad"].write_double(tmp_path / "htad")


def words(double, out, *more):
    return ["--datasets", "htad", "--root", str(double), "--methods", "ogm-ge,ume", "--seeds", "3", "--epochs", "2",
            "--workers", "0", "--out", str(out), "--json", *more]  # fmt: skip


def told(capsys):
    return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_rows_hold_what_they_say(double, tmp_path, capsys):
    assert command(words(double, tmp_path / "r")) == 0
    rows = told(capsys)["rows"]
    assert all(set(row) >= KEYS for row in rows)
    assert {(r["method"], r["metric"]) for r in rows} == {
        (m, k) for m in ("joint", "ogm-ge", "ume") for k in ("accuracy", "macro_f1", "nll", "brier", "ece")
    }
    for row in rows:
        assert 0 <= row["low"] <= row["mean"] <= row["high"]
        assert row["high"] <= 1 or row["metric"] in {"nll", "brier"}
        assert row["seeds"] == 3
        if row["method"] == "joint":
            assert row["delta_joint"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
        if row["metric"] == "accuracy":
            assert set(row["unimodal"]) == {"audio", "accelerometer"}
            assert all(alone["low"] <= alone["mean"] <= alone["high"] for alone in row["unimodal"].values())
        assert (row["forwards_per_step"], row["backwards_per_step"]) == (1.0, 1.0)
        assert row["milliseconds_per_step"] > 0
    joint = {r["metric"]: r["mean"] for r in rows if r["method"] == "joint"}
    for row in rows:
        assert abs(row["delta_joint"]["mean"] - (row["mean"] - joint[row["metric"]])) < 1e-12
    table = (tmp_path / "r/table.md").read_text()
    assert table.count("\n| htad") == table.count("| 1F + 1B |") == 3


def test_a_resumed_table_is_the_whole_one(double, tmp_path, capsys):
    assert command(words(double, tmp_path / "r")) == 0
    whole = told(capsys)["rows"]
    cells = sorted((tmp_path / "r/cells").rglob("*.json"))
    assert len(cells) == 4
    for cell in cells[::2]:
        cell.unlink()
    assert command(words(double, tmp_path / "r", "--resume")) == 0
    timed = {"milliseconds_per_step"}
    again = told(capsys)["rows"]
    assert [{k: v for k, v in r.items() if k not in timed} for r in again] == [
        {k: v for k, v in r.items() if k not in timed} for r in whole
    ]


def test_seeds_side_by_side_are_seeds_one_after_the_other(double, monkeypatch):
    recipe = {"method": "joint", "fusion": "concat", "width": 16, "epochs": 3, "milestones": [], "batch_size": 16}
    settings = {"lrs": [1e-3, 1e-2], "recipe": recipe, "splits": {}, "tune": {}, "device": "cpu"}
    for method in ("unimodal", "ogm"):
        factors = {"dataset": "htad", "method": method, "seeds": [0, 1, 2], "settings": settings}
        stacked = measure({"htad": str(double)}, factors, None)
        with monkeypatch.context() as patch:
            patch.setattr("real.bench.STACKED_BYTES", 0)
            apart = measure({"htad": str(double)}, factors, None)
        for kind in ("unimodal", "chosen"):
            assert stacked[kind] == apart[kind]
        assert stacked["metrics"]["accuracy"] == apart["metrics"]["accuracy"]
        assert stacked["metrics"]["nll"] == pytest.approx(apart["metrics"]["nll"], rel=1e-5)


def test_forwards_and_backwards_are_counted(double, tmp_path, capsys):
    assert command([*words(double, tmp_path / "r"), "--methods", "mmpareto", "--tune", "mmpareto.gamma=1,2"]) == 0
    rows = {r["method"]: r for r in told(capsys)["rows"] if r["metric"] == "accuracy"}
    assert (rows["mmpareto"]["forwards_per_step"], rows["mmpareto"]["backwards_per_step"]) == (1.0, 2.0)
    assert "| 1F + 2B |" in (tmp_path / "r/table.md").read_text()


def test_one_seed_has_no_interval(double, tmp_path, capsys):
    assert command([*words(double, tmp_path / "r"), "--seeds", "1"]) == 0
    assert all(row["low"] is None for row in told(capsys)["rows"])


def test_a_method_that_fails_costs_its_row_and_the_exit_status(double, tmp_path, capsys):
    assert command([*words(double, tmp_path / "r"), "--lrs", "1e30", "--methods", "uniform"]) == 1
    found = told(capsys)
    assert found["rows"] == []
    assert all("expected a finite loss" in f["reason"] for f in found["failures"])


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--methods", "ogmge"], "did you mean ogm-ge"),
        (["--datasets", "htat"], "did you mean htad"),
        (["--seeds", "0"], "--seeds >= 1"),
        (["--lrs", "a,b"], "numbers between commas"),
        (["--lrs", "-1"], "learning rates > 0"),
        (["--lrs", "0.01,1e-2", "--tune", "ogm-ge.alpha=0.1,1"], "two learning rates or more"),
        (["--tune", "ogm-ge.alpha"], "expected --tune METHOD.STRENGTH=X,Y"),
        (["--tune", "ogm-ge.alpha=low"], "--tune as numbers"),
        (["--tune", "pmr.alpha=1"], "--tune of a method among joint, unimodal, ogm-ge, ume"),
        (["--tune", "ogm-ge.beta=1"], "among alpha, found 'beta'"),
        (["--tune", "ogm-ge.alpha=-1"], r"alpha: expected a number in \[0, inf\]"),
        (["--tune", "ogm-ge.alpha=0.1,1", "--lrs", "0.01"], "two learning rates or more"),
        (["--root", "uci=/tmp"], "expected --root NAME"),
        (["--split", "htad=speaker"], "expected a split among random"),
        (["--fusion", "concad"], "did you mean concat"),
    ],
)
def test_what_cannot_be_done_is_refused(double, tmp_path, more, sentence):
    with pytest.raises(MmtheoryError, match=sentence):
        command([*words(double, tmp_path / "r"), *more])
    assert not (tmp_path / "r").exists()


def test_a_broken_file_is_told_before_anything_is_trained(double, tmp_path):
    (double / "htad.csv").write_text("class\n")
    with pytest.raises(DataError, match=r"htad.csv: expected columns"):
        command(words(double, tmp_path / "r"))
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_is_measured_with_seeds_and_rates_side_by_side(double, method):
    recipe = {"method": "joint", "fusion": "shared", "width": 8, "epochs": 2, "milestones": [], "batch_size": 16}
    settings = {"lrs": [1e-3, 1e-2], "recipe": recipe, "splits": {}, "tune": {}, "device": "cpu"}
    found = measure(
        {"htad": str(double)}, {"dataset": "htad", "method": method, "seeds": [0, 1], "settings": settings}, None
    )
    assert all(0 <= value <= 1 for value in found["metrics"]["accuracy"])
    assert set(found["chosen"]["lr"]) <= {1e-3, 1e-2}


def test_a_tuned_strength_is_chosen_on_validation_and_the_others_try_as_often(double, tmp_path, capsys):
    more = ["--tune=ogm-ge.alpha=0.1,0.5,2", "--lrs", "0.001,0.01"]
    assert command([*words(double, tmp_path / "r"), *more]) == 0
    rows = {r["method"]: r for r in told(capsys)["rows"] if r["metric"] == "accuracy"}
    assert {name: row["tries"] for name, row in rows.items()} == {"joint": 6, "ogm-ge": 6, "ume": 6}
    assert set(rows["ogm-ge"]["chosen"]["alpha"]) <= {0.1, 0.5, 2.0}
    assert set(rows["ogm-ge"]["chosen"]["lr"]) <= {0.001, 0.01}
    assert len(rows["joint"]["chosen"]["lr"]) == 3
    assert all(0.001 <= lr <= 0.01 for lr in rows["joint"]["chosen"]["lr"])


def test_the_best_of_several_tries_is_the_best_of_each_alone(double):
    recipe = {"method": "joint", "fusion": "concat", "width": 8, "epochs": 3, "milestones": [], "batch_size": 16}
    settings = {
        "lrs": [1e-3, 1e-2],
        "tune": {"uniform": {"weight": [0.0, 0.5, 5.0]}},
        "recipe": recipe,
        "splits": {},
        "device": "cpu",
    }
    factors = {"dataset": "htad", "method": "uniform", "seeds": [0, 1], "settings": settings}
    together = measure({"htad": str(double)}, factors, None)["chosen"]
    alone = [
        measure(
            {"htad": str(double)}, {**factors, "settings": {**settings, "tune": {"uniform": {"weight": [w]}}}}, None
        )["chosen"]
        for w in (0.0, 0.5, 5.0)
    ]
    assert together["validation"] == [max(values) for values in zip(*(a["validation"] for a in alone), strict=True)]


@given(
    st.lists(st.floats(1e-6, 1.0), min_size=2, max_size=4, unique=True),
    st.dictionaries(st.sampled_from(["ogm", "pmr", "opm"]), st.dictionaries(
        st.sampled_from(["a", "b"]), st.lists(st.floats(0, 1), min_size=1, max_size=3, unique=True), max_size=2
    ), max_size=3),
)  # fmt: skip
def test_no_method_tries_less_often_than_another_that_it_could_match(lrs, tuned):
    most = len(lrs) * max([combinations(own) for own in tuned.values()], default=1)
    for method in ("joint", *tuned):
        tried = tries(method, lrs, tuned)
        assert most <= len(tried) < most + combinations(tuned.get(method, {}))
        assert min(lrs) == min(t["lr"] for t in tried) <= max(t["lr"] for t in tried) == max(lrs)
        assert len({tuple(t.items()) for t in tried}) == len(tried)


def test_networks_without_a_replicate_axis_are_trained_seed_by_seed(tmp_path, capsys):
    root = DATASETS["cg-mnist"].write_double(tmp_path / "cg")
    told_so = ["--datasets", "cg-mnist", "--root", str(root), "--methods", "ogm", "--seeds", "2", "--epochs", "2", "--workers", "0", "--json",
               "--encoder", "gray=resnet:tiny,colour=cnn", "--lrs", "0.001,0.01", "--out", str(tmp_path / "r")]  # fmt: skip
    assert command(told_so) == 0
    rows = {(r["method"], r["metric"]): r for r in told(capsys)["rows"]}
    assert rows["joint", "accuracy"]["seeds"] == 2
    assert set(rows["ogm", "accuracy"]["unimodal"]) == {"gray", "colour"}
    assert set(rows["ogm", "accuracy"]["chosen"]["lr"]) <= {0.001, 0.01}


def test_one_by_one_is_what_train_does_and_a_try_that_breaks_costs_only_itself(double):
    data, recipe = DATASETS["htad"](double), Recipe(method="ogm", width=8, epochs=2, batch_size=16)
    fit = Fit(data, replace(recipe, lr=1e-2), 3).run()
    found = one_by_one(data, recipe, None, 3, [{"lr": 1e30}, {"lr": 1e-2}], "cpu")
    assert found["chosen"] == {"lr": [1e-2], "epoch": [fit.best_epoch], "validation": [fit.best_accuracy]}
    assert found["metrics"]["accuracy"] == [fit.measure()["test"]["accuracy"]]
    with pytest.raises(ArgumentError, match="a finite loss in one try"):
        one_by_one(data, recipe, None, 3, [{"lr": 1e30}], "cpu")
