"""From stored cells to the benchmark's rows: means over seeds, paired differences from joint training, published numbers beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from statistics import mean
from typing import Any

from mmtheory.experiment import Record, summary

from .evaluation import METRICS
from .question import Question


def rows_of(question: Question, records: Sequence[Record]) -> list[dict[str, Any]]:
    """A row a data set, method and metric, joint training first."""
    cells: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in sorted(records, key=lambda r: r.cell.factors["seeds"]):
        cells.setdefault((record.cell.factors["dataset"], record.cell.factors["method"]), []).append(record.measured)
    shown = tuple(dict.fromkeys(("joint", *question.methods)))
    rows: list[dict[str, Any]] = []
    for dataset in question.datasets:
        for method in shown:
            for metric in METRICS:
                values = _over(cells.get((dataset, method), []), "metrics", metric)
                if len(values) == question.seeds:
                    joint = _over(cells.get((dataset, "joint"), []), "metrics", metric)
                    rows.append(_row(question, dataset, method, metric, values, joint, cells))
    return rows


def _row(
    question: Question,
    dataset: str,
    method: str,
    metric: str,
    values: list[float],
    joint: list[float],
    cells: Mapping[tuple[str, str], list[Mapping[str, Any]]],
) -> dict[str, Any]:
    alone = cells.get((dataset, "unimodal"), [])
    unimodal = {m: _over(alone, "unimodal", m) for m in (alone[0]["unimodal"] if alone else {})}
    mine = cells[dataset, method]
    differences = [a - b for a, b in zip(values, joint, strict=True)] if len(joint) == len(values) else []
    return {
        "dataset": dataset,
        "method": method,
        "fusion": question.recipe.fusion,
        "metric": metric,
        **_cut(summary(values), metric),
        "delta_joint": summary(differences) if differences else None,
        "unimodal": {m: _cut(summary(v), metric) for m, v in unimodal.items()} if metric == "accuracy" else {},
        "seeds": question.seeds,
        "tries": len(question.tries(method)),
        "chosen": {k: _over(mine, "chosen", k) for k in question.tries(method)[0]},
        "cost": mine[0]["cost"],
        **{f"{k}_per_step": mean(_over(mine, "step", k)) for k in ("forwards", "backwards", "milliseconds")},
        "published": published(dataset, method) if metric == "accuracy" else [],
    }


def _cut(of: Mapping[str, float | None], metric: str) -> dict[str, float | None]:
    """The mean with its interval, which ends where the metric does."""
    return {end: v if v is None else METRICS[metric].cut(v) for end, v in of.items()}


def _over(measured: Sequence[Mapping[str, Any]], kind: str, name: str) -> list[float]:
    """One number a seed, over all blocks."""
    return [x for part in measured for x in part[kind][name]]


def published(dataset: str, method: str) -> list[dict[str, Any]]:
    """What others report for this data set and method: value, source, tag; their splits and encoders are their own."""
    table = tomllib.loads((files("real") / "published.toml").read_text(encoding="utf-8"))
    held = table.get(dataset, {}).get(method, [])
    return [{**table["sources"][entry["source"]], "value": entry["value"]} for entry in held]


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The accuracies as a table."""
    lines = [
        "| data set | method | fusion | accuracy % (95 %) | paired difference from joint | unimodal | cost a step | published |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if row["metric"] != "accuracy":
            continue
        alone = ", ".join(f"{m} {percent(v)}" for m, v in row["unimodal"].items())
        told = ", ".join(f"{100 * p['value']:.1f} ({p['name']}, {p['tag']})" for p in row["published"])
        delta = "" if row["method"] == "joint" else percent(row["delta_joint"], signed=True)
        lines.append(
            f"| {row['dataset']} | {row['method']} | {row['fusion']} | {percent(row)} | {delta} | {alone} | {row['forwards_per_step']:.3g}F + {row['backwards_per_step']:.3g}B | {told} |"
        )
    return "\n".join(lines) + "\n"


def percent(of: Mapping[str, Any] | None, *, signed: bool = False) -> str:
    """A mean with its interval, in percent."""
    if of is None:
        return ""
    sign = "+" if signed else ""
    if of["low"] is None:
        return f"{100 * of['mean']:{sign}.1f}"
    return f"{100 * of['mean']:{sign}.1f} ({100 * of['low']:{sign}.1f} to {100 * of['high']:{sign}.1f})"
