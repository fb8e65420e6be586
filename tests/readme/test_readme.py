"""Every command and every snippet of the README runs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "console" for line in text.splitlines()]
SNIPPETS = [text for kind, text in BLOCKS if kind == "python"]


def test_the_two_commands_are_printed_exactly():
    assert "pip install -e . && mmtheory verify" in COMMANDS
    assert "pip install -e '.[test]' && pytest" in COMMANDS


@pytest.mark.e2e
@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("mmtheory")])
def test_a_command_runs(line, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("text", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_runs(text, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
