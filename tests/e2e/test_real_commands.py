"""``mmtheory data``, ``train`` and ``bench`` as a user meets them: a killed run goes on to the same bytes, bad input costs exit 2."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from real.data import DATASETS

pytestmark = pytest.mark.e2e


@pytest.fixture
def double(tmp_path: Path) -> Path:
    return DATASETS["htad"].write_double(tmp_path / "double")


def test_a_killed_training_goes_on_to_the_same_bytes(spawn, double: Path, tmp_path: Path) -> None:
    words = ["train", "htad", "--root", str(double), "--method", "ogm-ge", "--epochs", "60", "--batch-size", "4"]
    child = spawn(*words, "--out", "killed")
    checkpoint, limit = tmp_path / "killed/checkpoint.safetensors", time.monotonic() + 90
    while not checkpoint.exists():
        assert time.monotonic() < limit
        time.sleep(0.005)
    child.kill()
    child.wait()
    assert not (tmp_path / "killed/result.json").exists()
    # The wheel goes on with what the wheel began: another version of the code would be refused.
    rest = [spawn(*words, "--out", "killed", "--resume"), spawn(*words, "--out", "whole")]
    for process in rest:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
    assert checkpoint.read_bytes() == (tmp_path / "whole/checkpoint.safetensors").read_bytes()
    killed, whole = (json.loads((tmp_path / f / "result.json").read_text()) for f in ("killed", "whole"))
    assert killed["test"] == whole["test"]
    assert killed["shapley"] == whole["shapley"]


def test_two_processes_as_torchrun_starts_them(spawn, run, double: Path, tmp_path: Path) -> None:
    words = ["train", "htad", "--root", str(double), "--method", "ogm-ge", "--epochs", "3", "--batch-size", "14"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    both = [spawn(*words, "--out", "both", RANK=str(r), LOCAL_RANK=str(r), **place) for r in range(2)]
    for process in both:
        told, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint
    assert told == "", "the first process tells, the others do not"
    assert run(*words, "--out", "alone").returncode == 0
    two, one = (json.loads((tmp_path / f / "result.json").read_text()) for f in ("both", "alone"))
    assert (two["processes"], one["processes"]) == (2, 1)
    assert two["best_epoch"] == one["best_epoch"]
    assert two["test"]["accuracy"] == one["test"]["accuracy"]
    assert two["test"]["nll"] == pytest.approx(one["test"]["nll"], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("data", "check", "htat"), "did you mean htad"),
        (("data", "check", "crema-d"), "expected --root DIR"),
        (("data", "check", "crema-d", "--root", "nowhere"), "nowhere: expected the folder of crema-d"),
        (("train", "htad", "--method", "ogmge"), "did you mean ogm-ge"),
        (("train", "htad", "--root", "double", "--recipe", "none.toml"), "none.toml"),
        (("bench", "--datasets", "htad", "--methods", "none"), "expected a method among"),
        (("bench", "--datasets", "ucf101"), "expected --root DIR"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(run, double: Path, words: tuple[str, ...], sentence: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mmtheory: ")
    assert sentence in last


def test_a_broken_line_is_named_by_file_and_number(run, double: Path) -> None:
    file = double / "htad.csv"
    lines = file.read_text().splitlines()
    lines[4] = lines[4].rsplit(",", 1)[0] + ",one"
    file.write_text("\n".join(lines))
    done = run("data", "check", "htad", "--root", str(double))
    assert done.returncode == 2
    assert "htad.csv, line 5: expected numbers" in done.stderr


def test_the_three_commands_work_together(run, double: Path) -> None:
    assert run("data", "check", "htad", "--root", str(double)).returncode == 0
    assert run("data", "prepare", "htad", "--root", str(double)).returncode == 0
    done = run("bench", "--datasets", "htad", "--root", str(double), "--methods", "ume", "--seeds", "2", "--epochs", "2",
               "--workers", "2", "--json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["method"] for row in rows} == {"joint", "ume"}


def test_the_systems_of_representation_learning_train_from_the_command_line(run, double: Path) -> None:
    for method in ("i2m2", "umurl", "umt", "mrhp"):
        words = ["train", "htad", "--root", str(double), "--method", method, "--epochs", "2", "--json", "--out", method]
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["recipe"]["method"] == method
    told = run("train", "htad", "--root", str(double), "--method", "ume", "--epochs", "2")
    assert told.returncode == 0, told.stderr
    assert "guiding rule, on validation: predictions averaged" in told.stdout


def test_reviews_are_ranked_by_product(run, tmp_path: Path) -> None:
    root = DATASETS["mrhp"].write_double(tmp_path / "reviews")
    (tmp_path / "rank.toml").write_text('method = "mrhp"\nepochs = 4\n[strengths]\ntask = "rank"\nrelevant = 2\n')
    done = run("train", "mrhp", "--root", str(root), "--recipe", "rank.toml", "--json")
    assert done.returncode == 0, done.stderr
    ranking = json.loads(done.stdout)["ranking"]
    assert ranking["lists"] == 2
    assert all(0 <= ranking[k] <= 1 for k in ("map", "ndcg@3", "ndcg@5"))
