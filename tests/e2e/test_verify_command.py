"""``mmtheory verify`` as a user meets it: schema, exit status, every bad input, and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.e2e
KEYS = {"claim", "source", "tag", "verdict", "left", "relation", "right", "n", "alpha", "world", "controls", "seconds"}
GOOD = ("odd/good", "curve/equal", "wide/rows")


def _json(text: str) -> dict[str, Any]:
    """Strict JSON: no NaN, no infinities."""
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def _findings(text: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in f.items() if k != "seconds"} for f in _json(text)["findings"]]


def _refused(done: Any, *words: str) -> None:
    """Exit 2, nothing on standard output, one sentence with these words on the last line of standard error."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("mmtheory: ")
    assert "Traceback" not in done.stderr
    assert all(word in last for word in words), last


def test_a_run_as_registered(run, tmp_path: Path) -> None:
    done = run("verify", *GOOD, "--out", "r", "--json")
    assert done.returncode == 0, done.stderr
    told = _json(done.stdout)
    assert told["registered"] is True
    assert [f["claim"] for f in told["findings"]] == list(GOOD)
    for finding in told["findings"]:
        assert set(finding) >= KEYS
        assert len(finding["left"]) == len(finding["right"]) == 2
        assert finding["relation"] in {"<=", ">=", "=="}
        assert [set(c) for c in finding["controls"]] == [{"name", "verdict"}]
    assert _json((tmp_path / "r/findings.json").read_text()) == told
    page = (tmp_path / "r/report.html").read_text()
    assert page.count("<svg") == len(GOOD)
    assert page.count("http") == page.count("http://www.w3.org/")
    assert {p.name for p in (tmp_path / "r/figures").iterdir()} == {"odd-good.svg", "curve-equal.svg", "wide-rows.svg"}
    import duckdb

    rows = duckdb.sql(f"select claim, verdict, \"left\"[1] from '{tmp_path}/r/findings.parquet'").fetchall()
    assert rows == [(f["claim"], f["verdict"], f["left"][0]) for f in told["findings"]]


def test_infinite_ends_are_null_and_an_empty_claim_is_vacuous(run) -> None:
    done = run("verify", "wide/infinite", "odd/empty", "odd/scope", "--json")
    assert done.returncode == 1
    found = {f["claim"]: f for f in _json(done.stdout)["findings"]}
    assert found["wide/infinite"]["right"][1] is None
    assert {f["verdict"] for f in found.values()} == {"vacuous", "out of scope"}


def test_a_wrong_claim_comes_first_and_costs_the_exit_status(run) -> None:
    done = run("verify", "odd/good", "odd/wrong")
    assert done.returncode == 1
    assert done.stdout.index("violated (!)") < done.stdout.index("holds")
    assert "1 of 2 claims came out as registered" in done.stdout


def test_accidents_do_not_hide_the_rest(spawn) -> None:
    child = spawn("verify", "odd/raises", "odd/data", "odd/dies", "odd/dies-once", "odd/good", "--json")
    told = _json(child.communicate(timeout=120)[0])
    assert child.returncode == 1
    assert {f["claim"]: f["verdict"] for f in told["findings"]} == {"odd/dies-once": "holds", "odd/good": "holds"}
    reasons = {f["claim"]: f["reason"] for f in told["failures"]}
    assert reasons["odd/dies"] == "the worker process died 2 times (signal 9)"
    assert reasons["odd/data"].endswith("expected finite numbers, found NaN in row 3")
    assert reasons["odd/raises"].startswith("ZeroDivisionError in odd_claims.py")


@pytest.mark.parametrize("cells", [0, 2])
def test_killed_at_any_moment_and_resumed(run, spawn, tmp_path: Path, cells: int) -> None:
    words = ("verify", "many", "odd/good", "--out", "r")
    child = spawn(*words, ODD_SLEEP="0.2")
    _wait(lambda: (tmp_path / "r/run.json").exists() and len(list(tmp_path.glob("r/cells/??/*.json"))) >= cells)
    child.kill()
    child.wait()
    resumed = spawn(*words, "--resume", "--json")
    told, complaint = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, complaint
    assert _findings(told) == _findings(run("verify", "many", "odd/good", "--json").stdout)


@pytest.mark.parametrize("cells", [0, 1])
def test_ctrl_c_keeps_what_is_stored(spawn, tmp_path: Path, cells: int) -> None:
    child = spawn("verify", "odd/good", "many", "--out", "r", ODD_SLEEP="20")
    _wait(lambda: (tmp_path / "r/run.json").exists() and len(list(tmp_path.glob("r/cells/??/*.json"))) >= cells)
    os.killpg(child.pid, signal.SIGINT)
    complaint = child.communicate(timeout=60)[1]
    assert child.returncode == 130
    assert f"interrupted; {cells} of 7 findings are stored in r" in complaint
    assert "Traceback" not in complaint


def _wait(ready: Callable[[], bool], seconds: float = 90) -> None:
    limit = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_two_writers_in_one_run_folder(spawn, tmp_path: Path) -> None:
    both = [spawn("verify", *GOOD, "--out", "r", "--resume", "--json", "--workers", "0") for _ in range(2)]
    told = [child.communicate(timeout=120) for child in both]
    assert [child.returncode for child in both] == [0, 0], told
    assert _findings(told[0][0]) == _findings(told[1][0])
    assert not list(tmp_path.rglob("*.part"))


def test_folders_that_cannot_be_used(run, tmp_path: Path) -> None:
    assert run("verify", "odd/good", "--out", "r").returncode == 0
    _refused(run("verify", "odd/good", "--out", "r"), "expected an empty or new folder", "--resume")
    _refused(run("verify", "odd/good", "--out", "r", "--resume", "--seed", "1"), "seed 1", "seed 0")
    _refused(run("verify", "odd/good", "--out", "r", "--resume", "--budget", "full"), "budget full", "budget small")
    _refused(run("verify", "odd/good", "C1.8", "--out", "r", "--resume"), "claims 2", "claims 1")
    (cell,) = tmp_path.glob("r/cells/??/*.json")
    whole = cell.read_text()
    cell.write_text(whole[: len(whole) // 2])
    _refused(run("verify", "odd/good", "--out", "r", "--resume"), cell.name, "truncated")
    assert cell.read_text() == whole[: len(whole) // 2]
    cell.write_text(whole)
    assert run("verify", "odd/good", "--out", "r", "--resume").returncode == 0
    described = json.loads((tmp_path / "r/run.json").read_text())
    (tmp_path / "r/run.json").write_text(json.dumps({**described, "version": "0.0.9+abc"}))
    _refused(run("verify", "odd/good", "--out", "r", "--resume"), "expected a run of mmtheory", "0.0.9+abc")
    (tmp_path / "r/run.json").write_text(json.dumps({**described, "format": 9}))
    _refused(run("verify", "odd/good", "--out", "r", "--resume"), "format 9")
    (tmp_path / "r/run.json").write_text('{"format": 1, ')
    _refused(run("verify", "--out", "r", "--resume"), "truncated")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.tex").touch()
    _refused(run("verify", "odd/good", "--out", "other", "--resume"), "thesis.tex", "no run.json")
    _refused(run("verify", "odd/good", "--out", "other/thesis.tex/r"), "expected", "Not a directory")
    _refused(run("verify", "--resume"), "expected --out DIR")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(run, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    _refused(run("verify", "odd/good", "--out", "locked/r"), "Permission denied")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc here")
def test_a_place_where_nobody_may_write(run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for out in ("/proc/r", "file/r"):
        _refused(run("verify", "odd/good", "--out", out), out, "expected a")
    assert (tmp_path / "file").read_text() == "kept"


def test_usage_that_does_not_exist(run) -> None:
    _refused(run("verify", "odd/god"), "'odd/god'", "did you mean odd/good")
    _refused(run("verify", "--budget", "huge"), "huge", "small")
    _refused(run("verify", "--bogus"), "--bogus")
    _refused(run("verify", "--seed", "x"), "seed")
    _refused(run("verify", "--seed", "-1"), "seed", "-1")
    _refused(run("verifi"), "'verifi'", "did you mean verify")
    assert run().returncode == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_cuda_where_there_is_none(run, tmp_path: Path) -> None:
    _refused(run("verify", "odd/good", "--device", "cuda", "--out", "r"), "expected a CUDA device", "found none")
    assert not (tmp_path / "r").exists()


def test_settings_from_a_file(run, tmp_path: Path) -> None:
    (tmp_path / "v.toml").write_text('claims = ["odd/good"]\nseed = 5\nout = "r"\n')
    assert run("verify", "--config", "v.toml", "--seed", "6").returncode == 0
    assert json.loads((tmp_path / "r/run.json").read_text())["question"] == {
        "claims": ["odd/good"], "budget": "small", "seed": 6, "device": "cpu",
    }  # fmt: skip
    (tmp_path / "v.toml").write_text('budgett = "full"\nseed = "x"\n')
    _refused(run("verify", "--config", "v.toml"), "budgett", "seed")
    (tmp_path / "v.toml").write_text("seed = = 1\n")
    _refused(run("verify", "--config", "v.toml"), "expected TOML")
    _refused(run("verify", "--config", "absent.toml"), "absent.toml", "No such file")


def test_worlds_and_dials_that_do_not_exist(run) -> None:
    _refused(run("world", "gausian-regression"), "'gausian-regression'", "did you mean gaussian-regression")
    _refused(run("world"), "no name")
    _refused(run("world", "gaussian-regression", "--set", "srn=1"), "did you mean snr")
    _refused(run("world", "gaussian-regression", "--set", "snr=-1,2"), "snr >= 0", "-1.0")
    _refused(run("world", "gaussian-regression", "--set", "rho=1.5"), "rho", "1.5")
    _refused(run("world", "gaussian-regression", "--set", "rho=nan"), "rho", "finite", "nan")
    _refused(run("world", "gaussian-regression", "--set", "snr"), "KEY=VALUE")
