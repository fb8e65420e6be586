"""Cells, sweeps and the store: addresses, atomic files, damage that is told and never used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from mmtheory.errors import ArgumentError, StoreError
from mmtheory.experiment import Cell, Serial, Store, Sweep, compact, to_parquet

SWEEP = Sweep("e", {"n": (1, 2, 3), "kind": ("x", "y")}, "1")
MADE = {"version": "1"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "run")


def test_an_address_depends_on_the_content_alone() -> None:
    cell = Cell("e", {"n": 1, "kind": "x"}, "1")
    assert cell.id == Cell("e", {"kind": "x", "n": 1}, "1").id
    others = [
        Cell("f", cell.factors, "1"),
        Cell("e", {"n": 2, "kind": "x"}, "1"),
        Cell("e", cell.factors, "2"),
        Cell("e", {"n": "1", "kind": "x"}, "1"),
    ]
    assert len({cell.id, *(other.id for other in others)}) == 5
    # A golden address: it must be the same on every machine and in every later version of the format.
    assert cell.id == "ce4c4e113c51eb25ad4fe5bd1d4a7e03"


def test_a_sweep_is_the_product_of_its_axes() -> None:
    assert [tuple(cell.factors.values()) for cell in SWEEP] == [(n, k) for n in (1, 2, 3) for k in ("x", "y")]
    assert len(SWEEP) == 6
    assert len({cell.id for cell in SWEEP}) == 6


@pytest.mark.parametrize("values", [(), (1, 1)])
def test_an_axis_needs_distinct_values(values: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match="axis 'n'"):
        Sweep("e", {"n": values})


def test_what_was_put_comes_back_and_the_rest_is_missing(store: Store) -> None:
    first, *rest = SWEEP
    store.put(first, {"value": [0.1, None]}, MADE)
    assert store.get(first).measured == {"value": [0.1, None]}
    assert store.get(first).cell == first
    assert store.missing(SWEEP) == rest
    assert [record.cell for record in store.records()] == [first]
    store.put(first, {"value": 2}, MADE)
    assert store.get(first).measured == {"value": 2}


def test_infinite_numbers_are_refused_before_anything_is_written(store: Store) -> None:
    with pytest.raises(ArgumentError, match="finite"):
        store.put(next(iter(SWEEP)), {"value": float("nan")}, MADE)
    assert not store.folder.exists()


@pytest.mark.parametrize("keep", [0, 1, 40, -1, -20])
def test_a_truncated_record_is_told_and_left_alone(store: Store, keep: int) -> None:
    cell = next(iter(SWEEP))
    store.put(cell, {"value": 1}, MADE)
    damaged = store.path(cell).read_bytes()[:keep]
    store.path(cell).write_bytes(damaged)
    for use in (lambda: store.get(cell), lambda: store.missing(SWEEP), lambda: list(store.records())):
        with pytest.raises(StoreError, match=f"{cell.id}.*truncated"):
            use()
    assert store.path(cell).read_bytes() == damaged


def test_an_edited_record_is_told(store: Store) -> None:
    cell = next(iter(SWEEP))
    store.put(cell, {"value": 1}, MADE)
    body = json.loads(store.path(cell).read_text())
    store.path(cell).write_text(json.dumps({**body, "measured": {"value": 2}}))
    with pytest.raises(StoreError, match="digest"):
        store.get(cell)
    store.path(cell).write_text(json.dumps({**body, "format": 2}))
    with pytest.raises(StoreError, match="format 1, found format 2"):
        store.get(cell)
    store.path(cell).write_text("[]")
    with pytest.raises(StoreError, match="JSON object, found list"):
        store.get(cell)


def test_a_record_under_another_cells_name_is_told(store: Store) -> None:
    first, second, *_ = SWEEP
    store.put(first, {"value": 1}, MADE)
    store.path(second).parent.mkdir(parents=True, exist_ok=True)
    store.path(second).write_bytes(store.path(first).read_bytes())
    with pytest.raises(StoreError, match=second.id):
        store.get(second)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="expected a place that can be written"):
        Store(tmp_path / "file").put(next(iter(SWEEP)), {}, MADE)


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB wraps the system's number in JSON of its own."""

    def full() -> None:
        raise duckdb.IOException('Async write failed: {"exception_type":"IO","errno":"28"}')

    monkeypatch.setattr(duckdb, "connect", full)
    with pytest.raises(StoreError, match=r"rows.parquet: expected a place .* found: No space left on device$"):
        to_parquet([{"a": 1}], "a INTEGER", tmp_path / "rows.parquet")
    assert list(tmp_path.iterdir()) == []


def test_compaction_gives_a_row_a_cell(store: Store, tmp_path: Path) -> None:
    import duckdb

    with pytest.raises(StoreError, match="at least one record"):
        compact(store, tmp_path / "t.parquet")
    for cell in SWEEP:
        store.put(cell, {"value": cell.factors["n"] / 2, "mixed": [1, "two", None]}, MADE)
    assert compact(store, tmp_path / "it's/t.parquet") == 6
    found = duckdb.sql(f"select id, cast(measured->'value' as double) from '{tmp_path}/it''s/t.parquet'").fetchall()
    assert dict(found) == {cell.id: cell.factors["n"] / 2 for cell in SWEEP}


WRITER = """
import sys
from pathlib import Path
from mmtheory.experiment import Store, Sweep
store, sweep = Store(Path(sys.argv[1])), Sweep("w", {"n": tuple(range(40))})
for _ in range(3):
    for cell in sweep:
        store.put(cell, {"filler": "x" * 5000, "n": cell.factors["n"]}, {"writer": sys.argv[2]})
        assert len(store.get(cell).measured["filler"]) == 5000
"""


def test_two_writers_of_the_same_cells_never_show_a_part(store: Store) -> None:
    lines = [[sys.executable, "-c", WRITER, str(store.folder), str(i)] for i in range(2)]
    writers = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for line in lines]
    assert [(w.communicate(timeout=120)[1], w.returncode) for w in writers] == [("", 0), ("", 0)]
    assert store.missing(Sweep("w", {"n": tuple(range(40))})) == []
    assert not list(store.folder.rglob("*.part"))


def test_a_part_left_by_a_killed_writer_is_no_record(store: Store) -> None:
    cell = next(iter(SWEEP))
    store.path(cell).parent.mkdir(parents=True)
    (store.path(cell).parent / f".{cell.id}.json.host-1-abc.part").write_text('{"format": 1')
    assert cell in store.missing(SWEEP)
    assert list(store.records()) == []


def test_an_accident_in_one_cell_does_not_end_the_others() -> None:
    def work(factors, note):
        note(factors["n"])
        return {"inverse": 1 / (factors["n"] - 2)}

    notes: list[int] = []
    sweep = Sweep("e", {"n": (1, 2, 3)})
    outcomes = list(Serial().run(work, sweep, lambda _cell, note: notes.append(note)))
    assert [o.measured for o in outcomes] == [{"inverse": -1.0}, None, {"inverse": 1.0}]
    assert "ZeroDivisionError in test_experiment_store.py" in (outcomes[1].failure or "")
    assert notes == [1, 2, 3]
