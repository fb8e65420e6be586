"""``mmtheory imbalance`` and ``mmtheory methods`` as commands: JSON, resuming, executors that die, refusals."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SMALL = (
    "--seeds",
    "2",
    "--methods",
    "ogm",
    "--epochs",
    "2",
    "--samples",
    "64",
    "--dial",
    "speed=0,1",
    "--rates",
    "0.05",
)
MMTHEORY = (sys.executable, "-m", "mmtheory")


def command(*words, **kwargs):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_DISABLE_IMPORT_WARNING": "1"}
    return subprocess.run(
        (*MMTHEORY, *words), capture_output=True, text=True, timeout=400, env=environment, check=False, **kwargs
    )


def test_json_and_resume(tmp_path):
    first = command("imbalance", *SMALL, "--out", "r", "--json", "--executor", "local", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert set(told["rows"][0]) >= {"method", "dial", "level", "metric", "mean", "low", "high", "delta_joint", "seeds"}
    assert {row["method"] for row in told["rows"]} == {"joint", "unimodal", "uniform", "ume", "ogm"}
    again = command("imbalance", *SMALL, "--out", "r", "--json", "--executor", "local", "--resume", cwd=tmp_path)
    assert json.loads(again.stdout)["rows"] == told["rows"]
    other = command("imbalance", *SMALL, "--out", "r", "--resume", "--seed", "1", cwd=tmp_path)
    assert other.returncode == 2
    assert "expected a run with seed 1, found seed 0" in other.stderr


def test_methods_command():
    told = json.loads(command("methods", "--json").stdout)["methods"]
    needed = (
        "joint unimodal uniform ume umt ogm ogm-ge opm pmr amss amss-plus mla mie bogc mimo mmpareto ngdiff gblend mses mslr greedy"
        " agm cml lfm reconboost relearning valuation mmcosine amco inforeg cggm aug"
    )
    assert {card["name"] for card in told} >= set(needed.split())
    assert all(card["source"] and card["summary"] and card["cost"] for card in told)
    assert all(card["fidelity"] in {"paper", "repo", "reconstruction"} for card in told)


def test_one_method_is_told_with_what_can_be_set():
    (told,) = json.loads(command("methods", "ogm", "--json").stdout)["methods"]
    assert (told["settings"]["alpha"], told["settings"]["form"]) == (0.5, "cvpr")
    assert "settings: alpha=0.5, form=cvpr" in command("methods", "ogm").stdout


def test_each_dose_is_a_row(tmp_path):
    doses = ["ogm:alpha=0", "ogm:alpha=2"]
    told = command(
        "imbalance", "--dial", "speed=2", "--methods", ",".join(doses), "--seeds", "2", "--epochs", "2", "--samples", "100",
        "--out", str(tmp_path / "run"), "--json",
    )  # fmt: skip
    accuracy = {
        r["method"]: r for r in json.loads(told.stdout)["rows"] if r["metric"] == "accuracy" and r["level"] == 2
    }
    assert accuracy.keys() >= set(doses)
    assert accuracy[doses[0]]["mean"] == accuracy["joint"]["mean"]  # the neutral dose is joint training
    assert accuracy[doses[0]]["delta_joint"]["mean"] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--methods", "nope"), "expected a method among"),
        (("--dial", "speed"), "expected --dial NAME=LEVEL,LEVEL"),
        (("--dial", "speed=1,1"), "distinct levels"),
        (("--dial", "speed=1", "--dial", "speed=2"), "each dial once, found speed again"),
        (("--rates", "fast"), "expected numbers as learning rates in --rates fast, found 'fast'"),
        (("--world", "deep-linear", "--dial", "rho=0.1", "--methods", "pmr"), "prototypes are means of classes"),
        (("--dial", "speed=x"), "expected dial speed as a finite number"),
        (("--world", "saturation", "--dial", "presence=1"), "found presence, which holds lists"),
        (("--world", "gated"), "expected --dial NAME=LEVELS"),
        (("--address", "x"), "expected --address with --executor ray"),
        (("--fusion", "nope"), "expected a fusion among"),
    ],
)
def test_refusals(words, sentence, tmp_path):
    done = command("imbalance", *words, "--out", "r", cwd=tmp_path)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "r").exists()


def test_ray_gives_the_same_bytes_though_a_worker_is_killed(tmp_path):
    local = command("imbalance", *SMALL, "--out", "local", "--executor", "local", cwd=tmp_path)
    assert local.returncode == 0, local.stderr
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        (*MMTHEORY, "imbalance", *SMALL, "--out", "ray", "--executor", "ray"), cwd=tmp_path, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    killed, limit = 0, time.monotonic() + 240
    while child.poll() is None and time.monotonic() < limit and not killed:
        for pid in actors(child.pid):
            os.kill(pid, signal.SIGKILL)
            killed += 1
            break
        time.sleep(0.05)
    complaint = child.communicate(timeout=400)[1]
    assert child.returncode == 0, complaint
    assert killed
    assert (tmp_path / "ray/rows.parquet").read_bytes() == (tmp_path / "local/rows.parquet").read_bytes()


def actors(parent):
    """Processes of Ray's actors that descend from ``parent``."""
    table = subprocess.run(
        ("ps", "-eo", "pid,ppid,args"), capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [(int(p), int(pp), args) for p, pp, args in (line.split(None, 2) for line in table)]
    family, grown = {parent}, True
    while grown:
        more = {p for p, pp, _ in rows if pp in family} - family
        family, grown = family | more, bool(more)
    return [p for p, _, args in rows if p in family and args.startswith("ray::_Actor")]
