"""``mmtheory imbalance``: from a command line to a laboratory run."""

from __future__ import annotations

import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from mmtheory.errors import ArgumentError
from mmtheory.experiment import Cell, Executor, Ray, Serial, processes, run_folder
from mmtheory.experiment.settings import parse
from synthetic.experiments._figures import named
from synthetic.experiments._page import ends, is_error, shown, starred
from synthetic.experiments._run import Ran, run
from synthetic.experiments.imbalance import Axis, Plan, with_neutral
from synthetic.worlds import WORLDS

from ._dials import build

DESCRIPTION = """Train balancing methods in a world whose imbalance is known, and say what each did, where, and at what price.

Methods x dials x levels x paired seeds, trained in stacks. Every method gets the same learning rates and is judged at
the one of best validation accuracy. Each level says which gap a modality has: learnt slowly, or knows less. joint, unimodal (the ceiling), uniform multi-loss, UME and the dial at rest are
always part of the table. A level of a dial that holds one value a modality moves the first modality.

examples:
  mmtheory imbalance                                                 ten methods, both dials of the two-dial world
  mmtheory imbalance --dial speed=0,1,2,3 --methods ogm,pmr --seeds 8
  mmtheory imbalance --dial speed=0,2 --dial information=0,2 --cross  a phase diagram
  mmtheory imbalance --world selection-gaussian --dial lam=0,1,4 --fusion film
  mmtheory imbalance --world deep-linear --dial kappa=0.5,1,2,3       when each modality is learnt, beside its formulas
  mmtheory imbalance --world competition --dial strength=1,1.5,2      the lottery beside the measured share of won classes
  mmtheory imbalance --methods ogm,moo:pcgrad,famo                    weightings of mmtheory.moo by name
  mmtheory imbalance --methods ogm:alpha=0.1,ogm:alpha=1,ogm:alpha=3  a method's dose and what it does"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory imbalance`` can be told."""

    world: Annotated[str, tyro.conf.arg(metavar="NAME")] = "two-dials"
    """A world; `mmtheory worlds` lists them. One of regression is learnt by a squared loss."""
    dial: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="NAME=LEVELS", help_behavior_hint="")
    ] = ()
    """A dial and its levels, separated by commas; may be given again. By default speed and information, 0 to 3."""
    cross: bool = False
    """Cross the dials (a phase diagram) instead of turning one at a time."""
    set: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="KEY=VALUE", help_behavior_hint="")
    ] = ()
    """A dial that stays where it is put; may be given again."""
    sign: bool = False
    """Ask a world of regression for the sign of its target, so that methods that look at classes can be trained in it."""
    methods: Annotated[str, tyro.conf.arg(metavar="A,B", help_behavior_hint="")] = ""
    """Methods; `mmtheory methods` lists them. Settings of one stand behind colons (ogm:alpha=1:ge=matched). By default ten that serve the world's kind of target."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 16
    """Paired seeds, 2 to 40."""
    fusion: Annotated[str, tyro.conf.arg(metavar="F")] = "concat"
    """How features become logits."""
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    """The optimiser of every method."""
    rates: Annotated[str, tyro.conf.arg(metavar="LR,LR", help_behavior_hint="")] = ""
    """Learning rates that every method is given; by default three around the optimiser's usual one."""
    epochs: Annotated[int, tyro.conf.arg(metavar="N")] = 20
    """Epochs of training."""
    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 2000
    """Training samples; as many for the test, a quarter for validation."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of all randomness, at least 0."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder, new or empty; by default a new one under ./runs."""
    resume: bool = False
    """Go on with the run in --out, or with the newest one under ./runs."""
    executor: Literal["local", "process", "ray"] = "process"
    """local trains in this process, process in one a core, ray on Ray's actors (pip install 'mmtheory[ray]')."""
    address: Annotated[str | None, tyro.conf.arg(metavar="A", help_behavior_hint="")] = None
    """A running Ray cluster; by default Ray is started on this machine."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Processes; by default one a core."""
    json: bool = False
    """Print one JSON object on standard output instead of the tables."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="imbalance", description=DESCRIPTION)
    plan, folder, console = (
        _plan(options),
        run_folder(options.out, "imbalance", options.world, options.seed, resume=options.resume),
        Console(stderr=True, highlight=False),
    )
    cells = len(list(plan.cells()))
    console.print(f"{cells} ensembles, {plan.seeds} paired seeds → {folder}", markup=False)

    def executor(count: int) -> Executor:
        if options.executor == "ray":
            return Ray(options.address, options.workers)
        return Serial() if options.executor == "local" else processes(options.workers, count)

    done = itertools.count(1)

    def told(cell: Cell, failure: str | None) -> None:
        what = f"{cell.factors['method']}, {cell.factors['axis']}"
        console.print(f"[{next(done)}/{cells}] {what}{': ' + failure if failure else ''}", markup=False)

    try:
        ran = run(plan, folder, executor, resume=options.resume, on_done=told)
    except KeyboardInterrupt:
        stored = sum(1 for _ in folder.glob("cells/??/*.json"))
        console.print(
            f"mmtheory: interrupted; {stored} of {cells} ensembles are stored in {folder}, and the same command with"
            f" --out {folder} --resume finishes the rest", markup=False, soft_wrap=True,
        )  # fmt: skip
        return 130
    _tell(ran, as_json=options.json)
    return 1 if ran.failures else 0


def _plan(options: Options) -> Plan:
    """The plan that the words mean."""
    if options.world not in WORLDS:
        raise ArgumentError(f"imbalance: expected a world among {', '.join(WORLDS)}, found {options.world!r}")
    if options.address is not None and options.executor != "ray":
        raise ArgumentError(f"imbalance: expected --address with --executor ray, found --executor {options.executor}")
    if options.seed < 0 or options.samples < 8:
        raise ArgumentError(
            f"imbalance: expected --seed >= 0 and --samples >= 8, found {options.seed} and {options.samples}"
        )
    world = build(WORLDS[options.world], list(options.set))
    fixed = world.dials()
    words = options.dial or (("speed=0,1,2,3", "information=0,1,2,3") if options.world == "two-dials" else ())
    if not words:
        raise ArgumentError(f"imbalance: expected --dial NAME=LEVELS with a dial of {options.world}, found none")
    axes = [_axis(options.world, word) for word in words]
    if twice := sorted({a.name for a in axes if [b.name for b in axes].count(a.name) > 1}):
        raise ArgumentError(
            f"imbalance: expected each dial once, found {', '.join(twice)} again (list all of its levels)"
        )
    if options.cross:
        crossed = [
            dict(itertools.chain(*(p.items() for p in ps))) for ps in itertools.product(*(a.points for a in axes))
        ]
        axes = [Axis(" × ".join(a.name for a in axes), tuple(crossed))]
    rates = tuple(
        _number(r.strip(), f"learning rates in --rates {options.rates}") for r in options.rates.split(",") if r.strip()
    )
    return Plan(
        axes=tuple(with_neutral(options.world, fixed, axis) for axis in axes), world=options.world, dials=fixed,
        methods=tuple(m.strip() for m in options.methods.split(",") if m.strip()), seeds=options.seeds, seed=options.seed,
        sign=options.sign, fusion=options.fusion, optimiser=options.optimizer, rates=rates, epochs=options.epochs,
        sizes=(options.samples, max(2, options.samples // 4), options.samples),
    )  # fmt: skip


def _axis(world: str, word: str) -> Axis:
    """``NAME=L1,L2`` as an axis; each level is read as the dial's own type."""
    name, equals, text = word.partition("=")
    levels = [part.strip() for part in text.split(",") if part.strip()]
    if not equals or not levels or len(set(levels)) < len(levels):
        raise ArgumentError(f"imbalance: expected --dial NAME=LEVEL,LEVEL with distinct levels, found {word!r}")
    name = name.strip().replace("-", "_")
    kind = WORLDS[world]
    now = build(kind, []).dials().get(name)
    points: list[dict[str, Any]] = []
    for one in levels:
        value = build(kind, [f"{name}={one}"]).dials()[name] if not isinstance(now, tuple | list) else None
        points.append({name: _number(one, f"levels in --dial {word}") if value is None else value})
    return Axis(name, tuple(points))


def _number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ArgumentError(f"imbalance: expected numbers as {what}, found {text!r}") from None


def _tell(ran: Ran, *, as_json: bool) -> None:
    """The tables, or the JSON object, and where the rest is."""
    if as_json:
        sys.stdout.write(json.dumps({**ran.found, "run": str(ran.folder)}, allow_nan=False) + "\n")
    else:
        console, rows = Console(highlight=False, width=None if sys.stdout.isatty() else 160), ran.found["rows"]
        for dial in dict.fromkeys(r["dial"] for r in rows):
            for metric in dict.fromkeys(r["metric"] for r in rows if r["dial"] == dial):
                here = [r for r in rows if r["dial"] == dial and r["metric"] == metric]
                levels = list(dict.fromkeys(named(r["level"]) for r in here))
                unit = (
                    " (difference to joint, less is better;"
                    if is_error(metric)
                    else ", % (difference to joint in points;"
                )
                heading = f"{metric}{unit} * where its 95 % interval leaves out 0)"
                table = Table("method", *(f"{dial} {v}" for v in levels), title=heading, box=None, title_justify="left")
                for method in dict.fromkeys(r["method"] for r in here):
                    table.add_row(method, *(_cell(r) for r in here if r["method"] == method))
                console.print(table)
            for r in (r for r in rows if r["dial"] == dial and r["metric"] in {"accuracy", "mse"} and r["stopped"]):
                console.print(
                    f"{r['method']} at {dial} {named(r['level'])}: {r['stopped']} of {r['seeds'] + r['stopped']} seeds were stopped, their loss was no "
                    "longer finite", soft_wrap=True,
                )  # fmt: skip
            unit = "the variance explained" if any(is_error(r["metric"]) for r in rows) else "accuracy"
            _tell_gaps(console, [g for g in ran.found["gaps"] if g["dial"] == dial], unit)
            for r in (r for r in ran.found["mechanisms"] if r["dial"] == dial):
                console.print(
                    f"{r['quantity']} at {dial} {named(r['level'])}: {r['mean']:.3g} ({r['low']:.3g} to {r['high']:.3g}), formula {ends(r['exact'])}",
                    soft_wrap=True,
                )
    sys.stdout.flush()
    sys.stderr.write(f"report: {ran.folder / 'report.html'}\n")


def _tell_gaps(console: Console, gaps: list[dict[str, Any]], unit: str) -> None:
    """Which gap each modality has at each level, and how large both are."""
    if not gaps:
        return
    levels = list(dict.fromkeys(named(g["level"]) for g in gaps))
    heading = f"which gap (speed, information; points of {unit})"
    table = Table("modality", *levels, title=heading, box=None, title_justify="left")
    for m in dict.fromkeys(g["modality"] for g in gaps):
        table.add_row(m, *(_gap(g) for g in gaps if g["modality"] == m))
    console.print(table)


def _gap(gap: dict[str, Any]) -> str:
    if gap["cause"] is None:
        return "–"
    both = (f"{100 * gap[kind]['mean']:+.1f}" for kind in ("speed", "information"))
    return f"{gap['cause']} ({', '.join(both)})".replace("-", "−")


def _cell(row: dict[str, Any]) -> str:
    """The mean, and in brackets the paired difference to joint."""
    if row["mean"] is None:
        return "–"
    delta, said = row["delta_joint"], shown(row["mean"], row["metric"])
    if row["method"] == "joint" or delta["mean"] is None:
        return said
    mark = "*" if starred(delta, row["metric"]) else ""
    return f"{said} ({shown(delta['mean'], row['metric'], sign='+')}{mark})"
