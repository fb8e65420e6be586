"""What importing costs, as ratios of processor time to ``import torch`` in the same run; printed as JSON."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark


def _seconds(module: str) -> float:
    """Least processor time of five fresh processes (waiting for a shared machine is not counted)."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, timeout=120)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


def test_importing_the_library_costs_little_beside_torch() -> None:
    torch = _seconds("torch")
    ratios = {name: round(_seconds(name) / torch, 3) for name in ("mmtheory", "mmtheory.experiment")}
    print(json.dumps({"import, ratio to import torch": ratios}))
    assert ratios["mmtheory"] < 1.5
    assert ratios["mmtheory.experiment"] < 1.5
