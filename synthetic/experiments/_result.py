"""Everything that a laboratory run says, as JSON: rows, slopes, traces, which gap it is, and what the world knows beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmtheory.experiment import Record

from .exact import known, mechanisms
from .gaps import gaps
from .imbalance import Measured, Plan, rows, slopes


def result(plan: Plan, records: Sequence[Record]) -> dict[str, Any]:
    """Of the ensembles that were trained. A probe's row names the gap that its modality has at that level."""
    measured = [Measured.of(plan, axis, records) for axis in plan.axes]
    told = [gap for one in measured for gap in gaps(plan, one)]
    cause = {(gap["dial"], str(gap["level"]), f"probe {gap['modality']}"): gap["cause"] for gap in told}
    return {
        "rows": [
            {**row, "gap": cause.get((row["dial"], str(row["level"]), row["metric"]))} for one in measured for row in rows(plan, one)
        ],
        "slopes": slopes(measured),
        "gaps": told,
        "known": [row for axis in plan.axes for row in known(plan, axis)],
        "mechanisms": [row for axis in plan.axes for row in mechanisms(plan, axis)],
        "traces": [
            {"method": method, "dial": one.axis.name, "level": level, "trace": name, **one.traces[method][name][k][one.chosen(method, k)]}
            for one in measured for method in one.traces for k, level in enumerate(one.axis.levels) for name in one.traces[method]
        ],
        "plan": plan.as_json(),
    }  # fmt: skip
