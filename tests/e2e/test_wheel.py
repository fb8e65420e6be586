"""The wheel, not the checkout: all three packages, the command, and what each import costs."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e
HEAVY = ("torch", "scipy.stats", "cvxpy", "matplotlib", "hypothesis", "duckdb", "pydantic")


def _python(installed: Path, code: str) -> str:
    line = [str(installed / "python"), "-W", "error", "-c", code]
    return subprocess.run(line, cwd="/", capture_output=True, text=True, timeout=120, check=True).stdout.strip()


def test_the_three_packages_come_from_the_wheel(installed: Path) -> None:
    code = (
        "import mmtheory, synthetic, real, json; print(json.dumps([p.__file__ for p in (mmtheory, synthetic, real)]))"
    )
    assert all(Path(f).is_relative_to(installed.parent) for f in json.loads(_python(installed, code)))


def test_the_installed_command_finds_claims_and_answers(spawn) -> None:
    claims = json.loads(spawn("claims", "--json").communicate(timeout=60)[0])["claims"]
    assert "C1.8" in {claim["id"] for claim in claims}
    assert json.loads(spawn("world", "gaussian-regression", "--json").communicate(timeout=60)[0])["unit"] == "nat"


def test_claims_and_worlds_are_listed(run) -> None:
    claims = json.loads(run("claims", "--json").stdout)["claims"]
    assert {"id", "source", "tag", "statement", "world", "budgets"} <= set(claims[0])
    assert "C1.8" in {claim["id"] for claim in claims}
    assert "gaussian-regression" in {world["name"] for world in json.loads(run("worlds", "--json").stdout)["worlds"]}


def test_the_answers_of_a_world(run) -> None:
    told = json.loads(
        run("world", "gaussian-regression", "--set", "snr=3,1", "--set", "label_noise=0.1", "--json").stdout
    )
    assert told["unit"] == "nat"
    assert set(told["subsets"]) == {"a", "b", "a,b"}
    low, high = told["subsets"]["a"]["bayes_risk"]
    assert low <= 0.35 <= high
    assert set(told["shapley"]) == {"a", "b"}


def test_help_is_quick_and_light(spawn, installed: Path) -> None:
    def seconds() -> float:
        begun = time.perf_counter()
        assert "verify" in spawn("--help").communicate(timeout=60)[0]
        return time.perf_counter() - begun

    assert min(seconds() for _ in range(5)) < 0.5
    code = f"import sys; from mmtheory.__main__ import main; main(['--help']); print([m for m in {HEAVY} if m in sys.modules])"
    assert _python(installed, code).splitlines()[-1] == "[]"


def test_rooms_do_not_pull_what_they_do_not_need(installed: Path) -> None:
    rooms = ", ".join(f"mmtheory.{room}" for room in ("stats", "claims", "experiment", "info", "bounds", "world"))
    code = (
        f"import sys, {rooms}; print([m for m in ('cvxpy', 'hypothesis', 'matplotlib', 'duckdb') if m in sys.modules])"
    )
    assert _python(installed, code) == "[]"


@pytest.mark.parametrize("command", ["verify", "claims", "worlds", "world"])
def test_every_command_explains_itself_with_an_example(run, command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0
    assert f"mmtheory {command}" in done.stdout
    assert "example" in done.stdout
