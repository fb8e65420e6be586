"""Verification: the registered claims as a sweep, a run folder that can be resumed, and what came out."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from mmtheory.claims import Claim, Look, confront, registered
from mmtheory.errors import ArgumentError, StoreError
from mmtheory.rng import Stream

from ._executor import Executor, Note, Pool, Serial
from ._finding import finding_json
from ._provenance import code_version, made_by
from ._store import FORMAT, Store, read_json, write_whole
from ._sweep import Cell, Sweep

EXPERIMENT = "verify"


@dataclass(frozen=True)
class Question:
    """What a run folder answers: which claims, how thoroughly, with which randomness and on what device."""

    claims: tuple[str, ...]
    budget: str = "small"
    seed: int = 0
    device: str = "cpu"

    def sweep(self) -> Sweep:
        """One cell a claim."""
        return Sweep(
            EXPERIMENT,
            {"claim": self.claims, "seed": (self.seed,), "budget": (self.budget,), "device": (self.device,)},
            code_version(),
        )


@dataclass(frozen=True)
class Verification:
    """What a verification came to: findings in the order of the claims, and the sentence for each claim that could not be tried."""

    question: Question
    folder: Path
    findings: tuple[Mapping[str, Any], ...]
    failures: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def registered(self) -> bool:
        """Whether every claim came out as registered and every control was refuted."""
        return not self.failures and all(finding["as_registered"] for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """The object that ``--json`` prints and ``findings.json`` holds."""
        return {
            "findings": list(self.findings),
            "registered": self.registered,
            "failures": [{"claim": claim, "reason": reason} for claim, reason in self.failures.items()],
            "run": str(self.folder),
        }


@dataclass(frozen=True)
class Watcher:
    """Where progress goes: by default nowhere."""

    start: Callable[[Sequence[str], int], None] = lambda _claims, _stored: None
    look: Callable[[str, Look], None] = lambda _claim, _look: None
    found: Callable[[str, Mapping[str, Any] | None, str | None], None] = lambda _claim, _finding, _failure: None


def measure(factors: Mapping[str, Any], note: Note) -> Mapping[str, Any]:
    """One cell: confront the claim and return the finding as JSON."""
    claim = registered()[factors["claim"]]
    finding = confront(
        claim, stream=Stream(factors["seed"]), budget=factors["budget"], device=factors["device"], on_look=note
    )
    return finding_json(finding)


def select(words: Sequence[str], claims: Mapping[str, Claim[Any]]) -> tuple[str, ...]:
    """The ids that the words mean, in registry order: a word is an id, a paper, or the part of an id before its first ``/``.

    :raises ArgumentError: a word that means nothing, with the ones that are near.
    """
    groups: dict[str, set[str]] = {}
    for name, claim in claims.items():
        for group in {name, claim.source.paper, *([name.split("/")[0]] if "/" in name else [])}:
            groups.setdefault(group.lower(), set()).add(name)
    wanted: set[str] = set()
    for word in words:
        if word.lower() not in groups:
            near = difflib.get_close_matches(word.lower(), groups, n=3, cutoff=0.5)
            hint = (
                f"; did you mean {' or '.join(_proper(n, claims) for n in near)}?"
                if near
                else "; see `mmtheory claims`"
            )
            raise ArgumentError(f"expected the id of a claim or a paper, found {word!r}{hint}")
        wanted |= groups[word.lower()]
    chosen = tuple(name for name in claims if not words or name in wanted)
    if not chosen:
        raise ArgumentError("expected at least one registered claim, found none")
    return chosen


def _proper(name: str, claims: Mapping[str, Claim[Any]]) -> str:
    """An id in its own letters."""
    return next((known for known in claims if known.lower() == name), name)


def open_run(folder: Path, question: Question, *, resume: bool) -> Store:
    """The store of a new run folder, or of an old one that asks the same question.

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
            "format": FORMAT, "experiment": EXPERIMENT, "version": code_version(), "question": _question_json(question),
            "made_by": made_by(device=question.device, seed=question.seed),
        }  # fmt: skip
        write_whole(path, json.dumps(run, indent=1).encode())
        return Store(folder)
    _same_run(path, question)
    return Store(folder)


def stored_claims(folder: Path) -> tuple[str, ...] | None:
    """The claims of the run in that folder; None where there is no run."""
    path = folder / "run.json"
    if not path.exists():
        return None
    question = read_json(path).get("question")
    claims = question.get("claims") if isinstance(question, dict) else None
    return tuple(str(c) for c in claims) if isinstance(claims, list) else None


def _question_json(question: Question) -> dict[str, Any]:
    return {
        "claims": list(question.claims),
        "budget": question.budget,
        "seed": question.seed,
        "device": question.device,
    }


def _same_run(path: Path, question: Question) -> None:
    """Raise unless the run folder is of this format, code and question."""
    run = read_json(path)
    if run.get("format") != FORMAT:
        raise StoreError(f"{path}: expected a run folder of format {FORMAT}, found format {run.get('format')!r}")
    if run.get("version") != code_version():
        raise StoreError(
            f"{path}: expected a run of mmtheory {code_version()}, found one of {run.get('version')}; take another --out"
        )
    held = run.get("question")
    for name, wanted in _question_json(question).items():
        found = held.get(name) if isinstance(held, dict) else None
        if found != wanted:
            shown = (len(wanted), len(found or ())) if name == "claims" else (wanted, found)
            raise StoreError(
                f"{path}: expected a run with {name} {shown[0]}, found {name} {shown[1]}; take another --out"
            )


def verify(
    question: Question,
    folder: Path,
    *,
    resume: bool = False,
    workers: int | None = None,
    watcher: Watcher | None = None,
) -> Verification:
    """Confront the claims, keep each finding as soon as it is there, and return all of them.

    Killed at any moment and called again with ``resume``, it tries what is missing and returns what an undisturbed run would have
    (the seconds apart).

    :param workers: processes at once; None means one a core, 0 means in this process.
    :raises StoreError: the folder cannot be used.
    :raises ArgumentError: a device that is not there.
    """
    watch = watcher or Watcher()
    need_device(question.device)
    store = open_run(folder, question, resume=resume)
    sweep = question.sweep()
    missing = store.missing(sweep)
    watch.start(question.claims, len(sweep) - len(missing))
    failures: dict[str, str] = {}
    provenance = made_by(device=question.device, seed=question.seed)

    def heard(cell: Cell, look: Look) -> None:
        watch.look(cell.factors["claim"], look)

    for outcome in _executor(workers, len(missing)).run(measure, missing, heard):
        claim = outcome.cell.factors["claim"]
        if outcome.measured is not None:
            store.put(
                outcome.cell, outcome.measured, {**provenance, "time": datetime.now(UTC).isoformat(timespec="seconds")}
            )
        else:
            failures[claim] = outcome.failure or "no reason was given"
        watch.found(claim, outcome.measured, outcome.failure)
    findings = tuple(store.get(cell).measured for cell in sweep if cell in store)
    return Verification(question, folder, findings, failures)


def _executor(workers: int | None, cells: int) -> Executor:
    """A pool, unless one process does."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = min(cores if workers is None else workers, cells)
    modules = ("mmtheory.experiment", *(entry.module for entry in entry_points(group="mmtheory.claims")))
    return Pool(wanted, preload=modules) if wanted > 1 or (workers == 1 and cells) else Serial()


def need_device(device: str) -> None:
    """Raise unless torch can compute there."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArgumentError(f"expected a CUDA device for --device {device}, found none (torch {torch.__version__})")
