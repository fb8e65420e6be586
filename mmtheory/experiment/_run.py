"""Run folders: what was asked is written down first, and only the same question may go on in the same folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from mmtheory.errors import StoreError

from ._provenance import code_version, made_by
from ._store import FORMAT, Store, read_json, write_whole


def open_run(
    folder: Path, experiment: str, question: Mapping[str, Any], *, seed: int, device: str = "cpu", resume: bool = False
) -> Store:
    """The store of a new run folder, or of an old one that asks the same question.

    :param question: what the folder answers, as JSON; a later run must ask the same.
    :raises StoreError: a folder that is not empty without ``resume``; one that is no run folder, or that of another version or question.
    """
    path = folder / "run.json"
    try:
        entries = (
            [entry.name for entry in folder.iterdir() if not entry.name.endswith(".part")] if folder.exists() else []
        )
    except OSError as error:
        raise StoreError(f"{folder}: expected a folder, found: {error.strerror or error}") from error
    if entries and not resume:
        raise StoreError(
            f"{folder}: expected an empty or new folder, found {len(entries)} entries (--resume goes on with a run)"
        )
    if entries and not path.exists():
        raise StoreError(
            f"{folder}: expected a run folder with run.json, found {', '.join(sorted(entries)[:3])} and no run.json"
        )
    if not entries:
        run = {
            "format": FORMAT, "experiment": experiment, "version": code_version(), "question": dict(question),
            "made_by": made_by(device=device, seed=seed),
        }  # fmt: skip
        write_whole(path, json.dumps(run, indent=1).encode())
    else:
        _same_run(path, experiment, question)
    return Store(folder)


def run_folder(out: Path | None, experiment: str, *about: object, resume: bool = False) -> Path:
    """Where a run is kept: ``out``, else a new folder under ./runs, or with ``resume`` the newest one of this experiment.

    :param about: what else its name should tell.
    :raises StoreError: nothing to resume.
    """
    if out is not None:
        return out
    runs = Path("runs")
    if not resume:
        return runs / "-".join(map(str, (experiment, *about, f"{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}")))
    found = sorted(runs.glob(f"{experiment}-*/run.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise StoreError(f"{experiment}: expected --out DIR or an earlier run under ./runs to resume, found none")
    return found[-1].parent


def asked(folder: Path) -> Mapping[str, Any] | None:
    """The question of the run in that folder; None where there is no run."""
    path = folder / "run.json"
    if not path.exists():
        return None
    question = read_json(path).get("question")
    return question if isinstance(question, dict) else None


def _same_run(path: Path, experiment: str, question: Mapping[str, Any]) -> None:
    """Raise unless the run folder is of this format, code, experiment and question."""
    run = read_json(path)
    if run.get("format") != FORMAT:
        raise StoreError(f"{path}: expected a run folder of format {FORMAT}, found format {run.get('format')!r}")
    if run.get("version") != code_version():
        raise StoreError(
            f"{path}: expected a run of mmtheory {code_version()}, found one of {run.get('version')}; take another --out"
        )
    if run.get("experiment") != experiment:
        raise StoreError(
            f"{path}: expected a run of {experiment}, found one of {run.get('experiment')}; take another --out"
        )
    held = run.get("question")
    for name, wanted in json.loads(json.dumps(dict(question))).items():
        found = held.get(name) if isinstance(held, dict) else None
        if found != wanted:
            if isinstance(found, dict) and isinstance(wanted, dict):  # only what differs
                ours, theirs = cast("dict[str, Any]", wanted), cast("dict[str, Any]", found)
                other = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
                wanted, found = ({k: held.get(k) for k in other} for held in (ours, theirs))
            shown = (len(wanted), len(found or ())) if name == "claims" else (wanted, found)
            raise StoreError(
                f"{path}: expected a run with {name} {shown[0]}, found {name} {shown[1]}; take another --out"
            )
