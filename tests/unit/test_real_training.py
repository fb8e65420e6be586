"""Training on real data end to end: what is told, exact resume, what is refused, and that measures are what they say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sklearn.metrics import brier_score_loss, f1_score, log_loss

from mmtheory.diagnose import unimodal_probes
from mmtheory.errors import ArgumentError, MmtheoryError, StoreError
from mmtheory.methods import METHODS
from mmtheory.rng import Stream
from real.cli import train as command
from real.data import DATASETS
from real.evaluation import accuracy, brier, calibration_error, macro_f1, negative_log_likelihood
from real.recipe import Recipe, read_recipe, shipped
from real.trainer import Fit


@pytest.fixture
def double(tmp_path):
    return DATASETS["htad"].write_double(tmp_path / "htad")


def test_a_run_tells_everything(double, tmp_path, capsys):
    assert command(["htad", "--root", str(double), "--epochs", "3", "--out", str(tmp_path / "r"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert told["dataset"] == "htad"
    assert 1 <= told["best_epoch"] <= 3
    assert set(told["test"]) == {"accuracy", "accuracy_interval", "macro_f1", "nll", "brier", "ece", "n"}
    assert set(told["probes"]) == {"audio", "accelerometer"}
    assert set(told["missing"]) == {"audio", "accelerometer", "audio+accelerometer"}
    assert told["missing"]["audio+accelerometer"] == told["test"]["accuracy"]
    shares = sum(told["shapley"].values())
    assert math.isclose(shares, told["test"]["accuracy"] - told["guess"], abs_tol=1e-12)
    assert json.loads((tmp_path / "r/result.json").read_text()) == told
    assert len(told["log"]) == 3
    assert command(["htad", "--root", str(double), "--epochs", "1", "--out", str(tmp_path / "s")]) == 0
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("method", "fusion"), [("joint", "concat"), ("ogm-ge", "sum"), ("pmr", "concat"), ("unimodal", "sum")]
)
def test_a_stopped_run_ends_with_the_bytes_of_a_whole_one(double, tmp_path, method, fusion):
    recipe = Recipe(method=method, fusion=fusion, epochs=4, batch_size=16)

    class StopError(Exception):
        pass

    def stop(line):
        if line["epoch"] == 3:
            raise StopError

    whole, part, rest = (Fit(DATASETS["htad"](double), recipe, 5, folder=tmp_path / f) for f in ("a", "b", "b"))
    whole.run()
    with pytest.raises(StopError):
        part.run(stop)  # after epoch 3 and before its checkpoint
    rest.resume()
    assert rest.trainer.epoch == 2
    rest.run()
    assert (tmp_path / "a/checkpoint.safetensors").read_bytes() == (tmp_path / "b/checkpoint.safetensors").read_bytes()
    a, b = whole.measure(), rest.measure()
    timed = {"seconds", "samples_per_second", "memory_mb", "log"}
    assert {k: v for k, v in a.items() if k not in timed} == {k: v for k, v in b.items() if k not in timed}


def test_a_checkpoint_of_something_else_is_refused(double, tmp_path):
    words = ["htad", "--root", str(double), "--epochs", "1", "--out", str(tmp_path / "r")]
    assert command(words) == 0
    path = tmp_path / "r/checkpoint.safetensors"
    fit = Fit(DATASETS["htad"](double), Recipe(method="ogm", epochs=1), folder=tmp_path / "r")
    with pytest.raises(StoreError, match=r"found one with method 'joint' \(expected 'ogm'\)"):
        fit.resume()
    for more, sentence in [
        ([], "expected an empty or new folder"),
        (["--resume", "--method", "ogm"], "take another --out"),
        (["--resume", "--seed", "1"], "take another --out"),
        (
            ["--resume", "--lr", "0.1"],
            r"expected a run with recipe {'lr': 0.1}, found recipe {'lr': 0.002}; take another --out",
        ),
    ]:
        with pytest.raises(StoreError, match=sentence):
            command([*words, *more])
    assert command([*words, "--resume"]) == 0
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(StoreError, match="expected a whole checkpoint, found a damaged file"):
        command([*words, "--resume"])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["htat"], "did you mean htad"),
        ([], "expected the name of a data set"),
        (["htad", "--method", "ogmge"], "did you mean ogm-ge"),
        (["htad", "--fusion", "concad"], "did you mean concat"),
        (["htad", "--split", "speaker"], "expected a split among random"),
        (["htad", "--seed", "-1"], "seed -1"),
        (["htad", "--epochs", "0"], "epochs"),
        (["htad", "--encoder", "cnn"], "take auto or mlp"),
        (["htad", "--recipe", "none.toml"], "none.toml"),
        (
            ["htad", "--recipe", "ogm-crema-d"],
            "expected a TOML file or a shipped recipe among .*; did you mean opm-crema-d",
        ),
        (["htad", "--resume"], "expected --out DIR"),
        (["htad", "--lr", "1e30", "--epochs", "3"], "expected a finite loss"),
        (["av-digits"], "expected --root DIR"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(words, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MmtheoryError, match=sentence) as refused:
        command(words)
    assert "\n" not in str(refused.value)


def test_a_recipe_is_checked(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'method = "ogm"\nfusion = "sum"\noptimiser = "sgd"\nschedule = "stairs"\nmilestones = [2]\n[strengths]\nalpha = 0.3\n'
    )
    recipe = read_recipe(file)
    assert (recipe.make_method().card.name, recipe.settings().schedule(2)) == ("ogm", 0.1)
    for text, sentence in [
        ("methd = 'ogm'", "methd"),
        ("[strengths]\nbeta = 3", "beta"),
        ("lr = -1.0", "lr > 0"),
        ("epochs = 'x'", "epochs"),
    ]:
        file.write_text(text)
        with pytest.raises(ArgumentError, match=sentence):
            read_recipe(file)


def test_measures_are_those_of_scikit_learn():
    draws = Stream(3).draws()
    logits, y = 2 * draws.normal("z", 200, 5), draws.integers("y", 5, 200)
    p, told = logits.softmax(-1).numpy(), logits.argmax(-1).numpy()
    assert math.isclose(macro_f1(logits, y), f1_score(y, told, average="macro"), abs_tol=1e-12)
    assert math.isclose(negative_log_likelihood(logits, y), log_loss(y, p), rel_tol=1e-9)
    assert math.isclose(brier(logits, y), brier_score_loss(y, p, scale_by_half=False), rel_tol=1e-9)
    confidence, right = p.max(1), told == y.numpy()
    bins = [(confidence > b / 15) & (confidence <= (b + 1) / 15) for b in range(15)]
    by_hand = sum(abs(right[b].mean() - confidence[b].mean()) * b.mean() for b in bins if b.any())
    assert math.isclose(calibration_error(logits, y), by_hand, abs_tol=1e-12)
    assert torch.equal(accuracy(logits.expand(2, 200, 5), y.expand(2, 200)), accuracy(logits, y).expand(2))


def test_probes_are_ridge_readouts_of_the_frozen_encoders(double):
    fit = Fit(DATASETS["htad"](double), Recipe(epochs=1, width=8, batch_size=16)).run()
    found = fit.measure()["probes"]
    fit.look = 3  # in pieces
    parts = fit.parts
    assert found == fit.measure()["probes"]
    known = unimodal_probes(fit.trainer.model, parts.train, parts.test)
    assert found == {m: float(right.mean()) for m, right in known.items()}


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_double_trains(name, tmp_path):
    kind = DATASETS[name]
    data = kind(kind.write_double(tmp_path))
    fit = Fit(data, Recipe(epochs=1, width=8), split="random" if "random" in data.splits else None).run()
    found = fit.measure()
    assert 0 <= found["test"]["accuracy"] <= 1
    assert set(found["probes"]) == set(data.modalities)


@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_recipe_loads_and_trains(name, double):
    recipe = read_recipe(Path(name))
    assert recipe.source
    assert recipe.note
    fit = Fit(DATASETS["htad"](double), replace(recipe, epochs=2, batch_size=8)).run()
    assert fit.trainer.epoch == 2


def test_a_recipe_of_that_name_is_found_and_options_win(double, tmp_path, capsys):
    words = [
        "htad",
        "--root",
        str(double),
        "--recipe",
        "ogm-ge-crema-d",
        "--epochs",
        "2",
        "--out",
        str(tmp_path / "r"),
        "--json",
    ]
    assert command(words) == 0
    told = json.loads(capsys.readouterr().out)["recipe"]
    assert (told["method"], told["epochs"], told["optimiser"]) == ("ogm", 2, "sgd")
    assert told["strengths"] == {"alpha": 0.8, "ge": "paper", "form": "cvpr", "start": 0, "end": 50}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_trains_with_concat_or_a_shared_head(method, double):
    try:
        fit = Fit(DATASETS["htad"](double), Recipe(method=method, epochs=2, width=8, batch_size=16))
    except ArgumentError:
        fit = Fit(DATASETS["htad"](double), Recipe(method=method, fusion="shared", epochs=2, width=8, batch_size=16))
    assert 0 <= fit.run().measure()["test"]["accuracy"] <= 1


def test_the_log_tells_how_long_a_method_leaves_each_gradient():
    fit = Fit(DATASETS["htad"](), Recipe(method="ogm", strengths={"alpha": 2.0}, epochs=2)).run()
    for line in fit.log:
        assert 0 < min(line["gradient_scale_audio"], line["gradient_scale_accelerometer"]) < 1
    assert fit.notes == []
    joint = Fit(DATASETS["htad"](), Recipe(epochs=1)).run()
    assert "gradient_scale_audio" not in joint.log[0]


def test_a_gradient_out_of_all_proportion_is_noted_once(monkeypatch):
    fit = Fit(DATASETS["htad"](), Recipe(method="ogm", epochs=2))
    odd = {"audio": torch.tensor(20.0), "accelerometer": torch.tensor(9.9), "shared": torch.tensor(1e3)}
    monkeypatch.setattr(fit.trainer.scales, "told", lambda: odd)
    fit.run()
    assert fit.notes == ["ogm: makes the gradient of audio 20 times as long in epoch 1"]
