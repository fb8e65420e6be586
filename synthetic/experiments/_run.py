"""Running the laboratory: whole stacked ensembles handed to an executor, each kept as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmtheory.experiment import Cell, Executor, compact, made_by, open_run, to_parquet, write_whole

from ._ensemble import measure
from ._page import page
from ._result import result
from .imbalance import EXPERIMENT, Plan

COLUMNS = (
    "method VARCHAR, dial VARCHAR, level JSON, metric VARCHAR, mean DOUBLE, low DOUBLE, high DOUBLE,"
    " delta_joint STRUCT(mean DOUBLE, low DOUBLE, high DOUBLE), seeds BIGINT, stopped BIGINT, rate DOUBLE, gap VARCHAR"
)


@dataclass(frozen=True)
class Ran:
    """What a run came to: the result, and the sentence for each ensemble that could not be trained."""

    found: dict[str, Any]
    failures: dict[str, str]
    folder: Path


def run(
    plan: Plan,
    folder: Path,
    executor: Callable[[int], Executor],
    *,
    resume: bool = False,
    on_done: Callable[[Cell, str | None], None] = lambda _cell, _failure: None,
) -> Ran:
    """Train what is missing, then write ``results.json``, ``rows.parquet``, ``cells.parquet`` and ``report.html``.

    ``rows.parquet`` holds nothing of when and where: equal plans give equal bytes, whatever executed them.

    :param executor: makes one for so many ensembles.
    :raises StoreError: the folder cannot be used.
    """
    store = open_run(folder, EXPERIMENT, plan.as_json(), seed=plan.seed, resume=resume)
    cells = list(plan.cells())
    missing = store.missing(cells)
    provenance = made_by(device="cpu", seed=plan.seed)
    failures: dict[str, str] = {}
    for outcome in executor(len(missing)).run(measure, missing, lambda _cell, _note: None):
        name = f"{outcome.cell.factors['method']}, {outcome.cell.factors['axis']}"
        if outcome.measured is None:
            failures[name] = outcome.failure or "no reason was given"
        else:
            stamp = datetime.now(UTC).isoformat(timespec="seconds")
            store.put(outcome.cell, outcome.measured, {**provenance, "time": stamp})
        on_done(outcome.cell, outcome.failure)
    failed = {name.split(", ")[0] for name in failures}
    records = [store.get(c) for c in cells if c in store and c.factors["method"] not in failed]
    found = {**result(plan, records), "failures": [{"ensemble": k, "reason": v} for k, v in failures.items()]}
    write_whole(folder / "results.json", json.dumps(found, indent=1, allow_nan=False).encode())
    if records:
        compact(store, folder / "cells.parquet")
        to_parquet(found["rows"], COLUMNS, folder / "rows.parquet")
        write_whole(folder / "report.html", page(found, provenance).encode())
    return Ran(found, failures, folder)
