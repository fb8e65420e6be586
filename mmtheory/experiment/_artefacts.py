"""What a finished verification leaves in its run folder: findings as JSON and Parquet, figures, the report."""

from __future__ import annotations

import json
import os
from pathlib import Path

from mmtheory.errors import StoreError

from ._report import Report, anchor
from ._store import write_whole
from ._verify import Verification


def write_artefacts(done: Verification) -> None:
    """``findings.json``, ``findings.parquet``, ``figures/*.svg`` and ``report.html``; each is there whole or not at all.

    :raises StoreError: the folder cannot be written.
    """
    write_whole(done.folder / "findings.json", json.dumps(done.as_json(), indent=1, allow_nan=False).encode())
    to_parquet(done.folder / "findings.json", done.folder / "findings.parquet", "unnest(findings, max_depth := 2)")
    report = Report.of(done.folder, failures=done.failures)
    for claim, svg in report.figures.items():
        write_whole(done.folder / "figures" / f"{anchor(claim)}.svg", svg.encode())
    write_whole(done.folder / "report.html", report.html().encode())


def to_parquet(source: Path, target: Path, rows: str) -> None:
    """Compact a JSON file to Parquet with DuckDB.

    :param rows: what to select from the file, as SQL.
    """
    import duckdb

    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with duckdb.connect() as base:
            base.execute(
                f"copy (select {rows} from read_json({_quoted(source)}, maximum_object_size := 1000000000)) to {_quoted(part)} (format parquet)"
            )
        os.replace(part, target)
    except (duckdb.Error, OSError) as error:
        raise StoreError(f"{target}: expected a place that can be written, found: {error}") from error


def _quoted(path: Path) -> str:
    """A path as an SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"
