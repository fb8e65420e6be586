"""The wheel, built and installed into an environment of its own, and the command that it brings."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mmtheory.__main__ import main

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment that holds the wheel; its dependencies are those of this environment, lent by a path file."""
    work = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(work), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (wheel,) = work.glob("*.whl")
    venv.create(work / "venv", with_pip=False)
    python = work / "venv" / "bin" / "python"
    lent = [path for path in (*site.getsitepackages(), site.getusersitepackages()) if Path(path).is_dir()]
    own = next((work / "venv" / "lib").glob("python*/site-packages"))
    (own / "lent.pth").write_text("\n".join(lent) + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--force-reinstall",
    ]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True, timeout=120)
    return python.parent


@pytest.fixture(scope="session")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that, on the path, registers the claims of ``odd_claims.py`` as an installed distribution would."""
    folder = tmp_path_factory.mktemp("odd")
    shutil.copy(Path(__file__).with_name("odd_claims.py"), folder)
    meta = folder / "odd_claims-0.0.dist-info"
    meta.mkdir()
    (meta / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-claims\nVersion: 0.0\n")
    (meta / "entry_points.txt").write_text("[mmtheory.claims]\nodd = odd_claims:CLAIMS\n")
    return folder


@pytest.fixture
def environment(odd: Path, tmp_path: Path) -> dict[str, str]:
    """Variables for a command that sees the odd claims."""
    return {
        **os.environ,
        "PYTHONPATH": str(odd),
        "ODD_MARK": str(tmp_path / "mark"),
        "OMP_NUM_THREADS": "1",
        "ODD_SLEEP": "0",
    }


@dataclass(frozen=True)
class Done:
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``mmtheory`` with these words in this process (``verify`` too, unless told how many workers), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(odd))
    monkeypatch.setenv("ODD_SLEEP", "0")

    def command(*words: str) -> Done:
        alone = words[:1] == ("verify",) and not {"--workers", "--help"} & set(words)
        capsys.readouterr()
        try:
            status = main([*words, *(("--workers", "0") if alone else ())])
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Done(status, *capsys.readouterr())

    return command


LISTENING = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
"""Becomes a command that hears a Ctrl-C, although a shell that starts tests in the background lets them inherit that it is not heard."""


@pytest.fixture
def spawn(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the installed ``mmtheory`` with these words in an empty folder, in a session of its own that ends with the test."""
    started: list[subprocess.Popen[str]] = []

    def command(*words: str, **variables: str) -> subprocess.Popen[str]:
        line = [sys.executable, "-c", LISTENING, str(installed / "mmtheory"), *words]
        child = subprocess.Popen(
            line, cwd=tmp_path, env={**environment, **variables}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip
        started.append(child)
        return child

    yield command
    for child in started:
        with child:
            child.kill()
