"""What a finished verification leaves in its run folder: findings as JSON and Parquet, figures, the report."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmtheory.errors import StoreError

from ._report import Report, anchor
from ._store import Store, write_whole
from ._verify import Verification

# Stated, not guessed from the content: the tables of any two runs can be stacked.
SIDES = '"left" DOUBLE[], "right" DOUBLE[]'
COLUMNS = (
    "claim VARCHAR, source VARCHAR, tag VARCHAR, verdict VARCHAR, relation VARCHAR, n BIGINT, alpha DOUBLE, world VARCHAR, seconds DOUBLE,"
    " statement VARCHAR, registered VARCHAR, as_registered BOOLEAN, margin DOUBLE, unit VARCHAR, dials JSON, stream VARCHAR,"
    ' broken_assumptions VARCHAR[], "case" VARCHAR, controls STRUCT(name VARCHAR, verdict VARCHAR)[],'
    " tightness DOUBLE, ladder STRUCT(slack DOUBLE, verdict VARCHAR)[], remarks VARCHAR[],"
    f" {SIDES}, cases STRUCT(name VARCHAR, {SIDES}, verdict VARCHAR)[]"
)


def write_artefacts(done: Verification) -> None:
    """``findings.json``, ``findings.parquet``, ``figures/*.svg`` and ``report.html``; each is there whole or not at all.

    :raises StoreError: the folder cannot be written.
    """
    whole = done.folder / "findings.json"
    write_whole(whole, json.dumps(done.as_json(), indent=1, allow_nan=False).encode())
    rows = f"read_json({_quoted(whole)}, columns = {{findings: '{f'STRUCT({COLUMNS})[]'}'}}, maximum_object_size = 1000000000)"
    _to_parquet(f"select unnest(findings, max_depth := 2) from {rows}", done.folder / "findings.parquet")
    report = Report.of(done.folder, failures=done.failures)
    for claim, svg in report.figures.items():
        write_whole(done.folder / "figures" / f"{anchor(claim)}.svg", svg.encode())
    write_whole(done.folder / "report.html", report.html().encode())


def compact(store: Store, target: Path) -> int:
    """Every record of a store as one Parquet file, a row a cell; returns how many, after each was read and checked.

    The cells stay the truth: the table can be made again from them at any time, and a table needs no store.

    :raises StoreError: an empty store, a damaged record, a target that cannot be written.
    """
    count = sum(1 for _ in store.records())
    if not count:
        raise StoreError(f"{store.folder}: expected a store with at least one record, found none")
    columns = (
        "{id: 'VARCHAR', experiment: 'VARCHAR', version: 'VARCHAR', factors: 'JSON', measured: 'JSON', made_by: 'JSON'}"
    )
    rows = (
        f"read_json({_quoted(store.folder / 'cells/*/*.json')}, columns = {columns}, maximum_object_size = 1000000000)"
    )
    _to_parquet(f"select * from {rows} order by id", target)
    return count


def to_parquet(rows: Sequence[Mapping[str, Any]], columns: str, target: Path) -> None:
    """Rows as one Parquet file with stated columns, in their order; equal rows give equal bytes.

    :param columns: names and DuckDB types, ``"method VARCHAR, mean DOUBLE"``.
    :raises StoreError: a target that cannot be written.
    """
    source = target.with_name(f".{target.name}.{os.getpid()}.json.part")
    write_whole(source, json.dumps({"rows": list(rows)}, allow_nan=False).encode())
    try:
        held = f"read_json({_quoted(source)}, columns = {{rows: '{f'STRUCT({columns})[]'}'}}, maximum_object_size = 1000000000)"
        _to_parquet(f"select unnest(rows, max_depth := 2) from {held}", target)
    finally:
        source.unlink(missing_ok=True)


def _to_parquet(query: str, target: Path) -> None:
    """What a query gives, written beside the target and renamed over it."""
    import duckdb

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect() as base:
            base.execute(f"copy ({query}) to {_quoted(part)} (format parquet)")
        os.replace(part, target)
    except (duckdb.Error, OSError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{target}: expected a place that can be written, found: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """What the system said; DuckDB wraps its number in JSON."""
    number = re.search(r'"errno":"(\d+)"', str(error))
    return os.strerror(int(number[1])) if number else str(error).partition("\n")[0]


def _quoted(path: Path) -> str:
    """A path as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"
