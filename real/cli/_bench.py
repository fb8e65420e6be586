"""``mmtheory bench``: methods × data sets × seeds, from a command line to a table with intervals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from mmtheory.errors import ArgumentError
from mmtheory.experiment import run_folder, write_whole
from mmtheory.experiment.settings import gathered, parse
from real.bench import bench
from real.question import Question
from real.recipe import Recipe, read_recipe
from real.table import markdown

from ._data import kind_of
from ._train import encoders_of, need_device

DESCRIPTION = """Compare methods on real data sets: paired seeds, equal tuning budget, intervals.

Every method sees the same splits, initialisations and sample orders, may try the same learning rates, and is looked at on the test part
once, at the learning rate and epoch that were best on validation. --tune lets a method try values of its own strengths besides; all others
may then try as many settings, spent on learning rates in between. Forwards and backwards of a step are counted. Differences from joint training are paired by seed. Joint and unimodal
training are always among the cells. What is trained is stored; --resume trains the rest.

examples:
  mmtheory bench --datasets htad --methods ogm-ge,pmr --seeds 5
  mmtheory bench --datasets htad,av-digits --root av-digits=free-spoken-digit-dataset --methods ogm --fusion sum --seeds 10 --json
  mmtheory bench --datasets htad --methods ogm,pmr --tune ogm.alpha=0.1,0.5,1 --tune pmr.alpha=0.5,1
  mmtheory bench --datasets htad --methods ogm:alpha=0.1,ogm:alpha=1 --seeds 10
  mmtheory bench --datasets htad --methods uniform --seeds 20 --out runs/b --resume"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory bench`` can be told."""

    datasets: Annotated[str, tyro.conf.arg(metavar="A,B")] = "htad"
    """Data sets, between commas."""
    methods: Annotated[str, tyro.conf.arg(metavar="C,D")] = "uniform,ume,ogm-ge,pmr"
    """Methods, between commas."""
    seeds: Annotated[int, tyro.conf.arg(metavar="N")] = 5
    """How many seeds; an interval needs two."""
    fusion: Annotated[str | None, tyro.conf.arg(metavar="F", help_behavior_hint="(default: concat)")] = None
    """Fusion of the features."""
    encoder: Annotated[str | None, tyro.conf.arg(metavar="E", help_behavior_hint="(default: auto)")] = None
    """Encoder of every modality, or audio=ast,image=resnet; those of transformers are trained seed by seed."""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 30)")] = None
    """Epochs."""
    lrs: Annotated[str, tyro.conf.arg(metavar="X,Y")] = "0.0005,0.002,0.008"
    """Learning rates that every method may try, between commas."""
    tune: Annotated[tuple[str, ...], tyro.conf.arg(metavar="METHOD.STRENGTH=X,Y ...", help_behavior_hint="")] = ()
    """Values of a method's own strengths that it may try, between commas."""
    root: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=DIR ...", help_behavior_hint="")] = ()
    """Folders of downloads, by data set."""
    split: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=SPLIT ...", help_behavior_hint="")] = ()
    """Splits other than the first, by data set."""
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """TOML file with everything that is the same for all methods, or the name of a shipped recipe."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Worker processes; by default one a core, 0 computes in this process."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder, new or empty; by default a new one under ./runs."""
    resume: bool = False
    """Go on with the run in --out."""
    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command: exit status 1 if a cell could not be trained."""
    options = parse(Options, gathered(argv, "--root", "--split", "--tune"), command="bench", description=DESCRIPTION)
    if options.resume and options.out is None:
        raise ArgumentError("bench: expected --out DIR, the run to resume, found none")
    need_device(options.device)
    question = _question(options)
    roots = {name: Path(folder) for name, folder in _pairs("root", options.root, question.datasets).items()}
    folder = run_folder(options.out, "bench")
    try:
        rows, failures = bench(
            question, folder, roots=roots, resume=options.resume, workers=options.workers, heard=_told(len(question.sweep()))
        )  # fmt: skip
    except KeyboardInterrupt:
        sys.stderr.write(
            f"mmtheory: interrupted; what is trained is stored, and the same command with --out {folder} --resume trains the rest\n"
        )
        return 130
    reasons = [{"cell": cell, "reason": reason} for cell, reason in failures.items()]
    told = {
        "rows": rows,
        "failures": reasons,
        "level": 0.95,
        "tuning": {"lrs": list(question.lrs), "tune": question.tune, "epochs": question.recipe.epochs},
        "run": str(folder),
    }
    write_whole(folder / "table.json", json.dumps(told, indent=1, allow_nan=False).encode())
    write_whole(folder / "table.md", markdown(rows).encode())
    sys.stdout.write(json.dumps(told, allow_nan=False) + "\n" if options.json else markdown(rows))
    sys.stderr.write(f"table: {folder / 'table.md'}\n")
    return 1 if failures else 0


def _question(options: Options) -> Question:
    """What is asked, every name checked."""
    datasets = tuple(kind_of(name).name for name in _words(options.datasets))
    base = Recipe() if options.recipe is None else read_recipe(options.recipe)
    base = replace(
        base, method="joint", strengths={}, fusion=options.fusion or base.fusion, epochs=options.epochs or base.epochs,
        encoder=base.encoder if options.encoder is None else encoders_of(options.encoder),
    )  # fmt: skip
    lrs, splits = _numbers("lrs", options.lrs), _pairs("split", options.split, datasets)
    tune = _tuned(options.tune)
    return Question(datasets, tuple(_words(options.methods)), options.seeds, lrs, base, splits, tune, options.device)


def _tuned(settings: tuple[str, ...]) -> dict[str, dict[str, tuple[float, ...]]]:
    """METHOD.STRENGTH=X,Y as method → strength → values."""
    found: dict[str, dict[str, tuple[float, ...]]] = {}
    for setting in settings:
        name, equals, values = setting.partition("=")
        method, dot, strength = name.partition(".")
        if not (equals and dot and method and strength and values):
            raise ArgumentError(f"bench: expected --tune METHOD.STRENGTH=X,Y, found {setting!r}")
        found.setdefault(method, {})[strength] = _numbers("tune", values)
    return found


def _numbers(option: str, text: str) -> tuple[float, ...]:
    """The numbers between commas."""
    try:
        return tuple(dict.fromkeys(float(word) for word in _words(text)))
    except ValueError as error:
        raise ArgumentError(f"bench: expected --{option} as numbers between commas, found {text!r}") from error


def _words(text: str) -> list[str]:
    """The words between commas, each once."""
    return list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))


def _pairs(option: str, settings: tuple[str, ...], datasets: tuple[str, ...]) -> dict[str, str]:
    """NAME=VALUE by name; a bare value belongs to every data set."""
    found: dict[str, str] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if equals and name not in datasets:
            raise ArgumentError(
                f"bench: expected --{option} NAME=… with a data set among {', '.join(datasets)}, found {setting!r}"
            )
        found |= {name: value} if equals else dict.fromkeys(datasets, name)
    return found


def _told(total: int) -> Callable[[str, str | None], None]:
    """Prints a line a cell."""
    done = iter(range(1, total + 1))

    def told(cell: str, failure: str | None) -> None:
        sys.stderr.write(f"[{next(done, total)}/{total}] {cell}{': failed: ' + failure if failure else ''}\n")

    return told
