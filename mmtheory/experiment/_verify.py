"""Verification: the registered claims as a sweep, a run folder that can be resumed, and what came out."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmtheory.claims import Claim, Look, confront, registered
from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream

from ._executor import Note, processes
from ._finding import finding_json
from ._provenance import code_version, made_by
from ._run import asked, open_run
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


def stored_claims(folder: Path) -> tuple[str, ...] | None:
    """The claims of the run in that folder; None where there is no run."""
    claims = (asked(folder) or {}).get("claims")
    return tuple(str(c) for c in claims) if isinstance(claims, list) else None


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
    store = open_run(folder, EXPERIMENT, asdict(question), seed=question.seed, device=question.device, resume=resume)
    sweep = question.sweep()
    missing = store.missing(sweep)
    watch.start(question.claims, len(sweep) - len(missing))
    failures: dict[str, str] = {}
    provenance = made_by(device=question.device, seed=question.seed)

    def heard(cell: Cell, look: Look) -> None:
        watch.look(cell.factors["claim"], look)

    for outcome in processes(workers, len(missing)).run(measure, missing, heard):
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


def need_device(device: str) -> None:
    """Raise unless torch can compute there."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArgumentError(f"expected a CUDA device for --device {device}, found none (torch {torch.__version__})")
