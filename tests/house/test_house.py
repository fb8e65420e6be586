"""Is the house in order?"""

import ast
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import mmtheory
import real
import synthetic
from mmtheory.claims import registered
from mmtheory.world import World
from synthetic.claims import PAPERS
from synthetic.worlds import WORLDS

ROOT = Path(__file__).parents[2]
SOURCES = sorted(p for package in (mmtheory, synthetic, real) for p in Path(package.__file__).parent.rglob("*.py"))
FORBIDDEN = {"utils", "helpers", "common", "core", "misc", "base", "types", "constants", "lib"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_is_small_and_well_named(path):
    text = path.read_text()
    assert text.count("\n") <= 350, f"{path}: {text.count(chr(10))} lines; a room of 350 wants to be two"
    assert path.stem.lstrip("_") not in FORBIDDEN
    assert ast.get_docstring(ast.parse(text)), f"{path}: expected a first line that says what it is"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_forbidden_is_called(path):
    found = re.search(
        r"\bpickle\b\.|torch\.manual_seed|np\.random\.seed|torch\.load\(|(?<![.\w])eval\(|NotImplementedError",
        path.read_text(),
    )
    assert not found, f"{path}: {found and found.group()}"


def test_no_package_under_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))
    assert {p.name for p in (ROOT / "tests").iterdir() if p.is_dir() and not p.name.startswith("__")} <= {
        "unit", "property", "statistical", "golden", "peers", "benchmark", "e2e", "readme", "house",
    }  # fmt: skip


def test_every_world_is_registered():
    import synthetic.worlds

    found = set()
    for module in pkgutil.iter_modules(synthetic.worlds.__path__):
        for _, cls in inspect.getmembers(import_module(f"synthetic.worlds.{module.name}"), inspect.isclass):
            if (
                issubclass(cls, World)
                and not inspect.isabstract(cls)
                and hasattr(cls, "name")
                and cls.__module__.startswith("synthetic.worlds")
            ):
                found.add(cls)
    assert found == set(WORLDS.values())
    assert all(name == cls.name for name, cls in WORLDS.items())


def test_every_claim_has_a_home_a_source_and_a_control():
    folders = {m.name for m in pkgutil.iter_modules(import_module("synthetic.claims").__path__) if m.ispkg}
    assert folders == set(PAPERS)
    for paper, claims in PAPERS.items():
        assert all(claim.source.paper == paper for claim in claims), paper
    for name, claim in registered().items():
        assert claim.id == name
        assert claim.controls()


def test_import_is_light():
    code = "import sys, mmtheory.stats, mmtheory.claims; print([m for m in ('cvxpy', 'hypothesis', 'matplotlib', 'pytest', 'duckdb') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == mmtheory.__version__
    assert (
        re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE).group(1)
        == mmtheory.__version__
    )
    locked = dict(
        line.strip().split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line
    )
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    names = {re.split(r"[<>=\[]", w)[0].lower() for w in wanted}
    assert names <= {n.lower() for n in locked}


def test_import_contracts_hold():
    done = subprocess.run(["lint-imports"], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_every_package_is_typed():
    assert all((Path(p.__file__).parent / "py.typed").exists() for p in (mmtheory, synthetic, real))
