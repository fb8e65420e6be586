"""``mmtheory verify``: from a command line to a run folder, a table and an exit status."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mmtheory.claims import registered
from mmtheory.errors import ArgumentError
from mmtheory.experiment import Question, Verification, run_folder, select, stored_claims, verify, write_artefacts
from mmtheory.experiment.settings import parse, read_toml

from ._progress import progress, show

DESCRIPTION = """Confront the registered claims with their worlds and write a run folder with a report.

Each claim is tried at growing sample sizes until its statement holds or is refuted; then its negative controls,
wrong statements that must be refuted, are tried too. Exit status: 0 if every claim came out as registered and every
control was refuted, 1 if not, 2 for bad usage, 130 after Ctrl-C.

examples:
  mmtheory verify                                  every claim, small budget
  mmtheory verify C1.8                             one claim
  mmtheory verify huang2021 --budget full          the claims of one paper, thoroughly
  mmtheory verify --out runs/a --resume            go on with a run that was stopped
  mmtheory verify --config verify.toml --seed 3    settings from a file (same names), overridden by options"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory verify`` can be told."""

    claims: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CLAIM ...", help_behavior_hint="")
    ] = ()
    """Ids (C1.8) or papers (huang2021); none means every claim."""
    budget: Literal["small", "full"] = "small"
    """How much each claim may spend; small decides every claim within seconds, full looks ten times closer."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of all randomness, at least 0."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder, new or empty; by default a new one under ./runs."""
    resume: bool = False
    """Go on with the run in --out, or with the newest one under ./runs."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the empirical sides compute."""
    json: bool = False
    """Print one JSON object on standard output instead of the table."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Worker processes; by default one a core, 0 computes in this process."""
    config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml", help_behavior_hint="")] = None
    """TOML file with any of these settings; options on the command line win."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = _options(argv)
    folder = run_folder(options.out, "verify", options.budget, options.seed, resume=options.resume)
    claims = select(options.claims, registered())
    if options.resume and not options.claims:
        claims = stored_claims(folder) or claims
    question = Question(claims, options.budget, options.seed, options.device)
    try:
        with progress(registered(), question, folder) as watcher:
            done = verify(question, folder, resume=options.resume, workers=options.workers, watcher=watcher)
            write_artefacts(done)
    except KeyboardInterrupt:
        stored = sum(1 for _ in folder.glob("cells/??/*.json"))
        sys.stderr.write(
            f"mmtheory: interrupted; {stored} of {len(claims)} findings are stored in {folder}, and the same command with"
            f" --out {folder} --resume finishes the rest\n"
        )
        return 130
    _tell(done, as_json=options.json)
    return 0 if done.registered else 1


def _options(argv: list[str]) -> Options:
    """The command line over the file over the defaults, each checked."""
    options = parse(Options, argv, command="verify", description=DESCRIPTION)
    if options.config is not None:
        base = replace(read_toml(Options, options.config), config=None)
        options = parse(Options, argv, command="verify", description=DESCRIPTION, default=base)
    if options.seed < 0 or (options.workers is not None and options.workers < 0):
        raise ArgumentError(
            f"verify: expected --seed and --workers >= 0, found seed {options.seed}, workers {options.workers}"
        )
    return options


def _tell(done: Verification, *, as_json: bool) -> None:
    """The table, or the JSON object, and where the rest is."""
    if as_json:
        sys.stdout.write(json.dumps(done.as_json(), allow_nan=False) + "\n")
    else:
        show(done)
    sys.stdout.flush()
    sys.stderr.write(f"report: {done.folder / 'report.html'}\n")
