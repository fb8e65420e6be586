"""What a terminal and a pipe see while a verification runs."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from mmtheory.claims import Case, Look, registered
from mmtheory.experiment import Question
from mmtheory.stats import Interval, Verdict
from synthetic.cli._progress import _Bars, progress

FOUND = {
    "claim": "C1.8", "verdict": "holds", "left": [0.36, 0.37], "relation": "==", "right": [0.365, 0.365], "n": 8000, "unit": "fits",
    "controls": [{"name": "c", "verdict": "violated"}], "seconds": 1.0,
}  # fmt: skip


def look(k: int, verdict: Verdict, control: str | None = None) -> Look:
    case = Case("a", Interval(0.36, 0.37, 1e-6), Interval.exact(0.365), verdict)
    return Look("C1.8", control, k, 4000 * k, 16000, case, verdict)


def test_a_bar_tells_looks_n_interval_and_verdict() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=160, color_system=None)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        console=console,
        auto_refresh=False,
    ) as bars:
        watcher = _Bars(bars, registered(), Question(("C1.8",))).watcher()
        watcher.start(["C1.8"], 0)
        watcher.look("C1.8", look(1, Verdict.INCONCLUSIVE))
        bars.refresh()
        watcher.look("C1.8", look(2, Verdict.HOLDS))
        watcher.look("C1.8", look(1, Verdict.VIOLATED, "half of it"))
        bars.refresh()
        watcher.found("C1.8", FOUND, None)
        bars.refresh()
    shown = text.getvalue()
    assert "look 1/3  n 4,000  [0.36, 0.37] = 0.365  inconclusive  claim" in shown
    assert "violated  control “half of it”" in shown
    assert "holds: [0.36, 0.37] = 0.365, n = 8,000 fits, 1 of 1 controls refuted" in shown
    assert "writing the report" in shown


def test_a_pipe_gets_a_line_a_claim(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(registered(), Question(("C1.8", "x")), Path("r")) as watcher:
        watcher.start(["C1.8", "x"], 0)
        watcher.look("C1.8", look(1, Verdict.HOLDS))
        watcher.found("C1.8", FOUND, None)
        watcher.found("x", None, "an accident")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "2 claims, budget small, seed 0 → r"
    assert lines[1].startswith("[1/2] C1.8 holds: [0.36, 0.37] = 0.365")
    assert lines[2] == "[2/2] x failed: an accident, 0 looks"
