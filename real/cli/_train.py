"""``mmtheory train``: one method on one data set, from a command line to a run folder and a table."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from mmtheory.errors import ArgumentError, StoreError
from mmtheory.experiment import open_run, run_folder, write_whole
from mmtheory.experiment.settings import parse
from real.distributed import Crew, crew
from real.passes import Precision
from real.recipe import Recipe, read_recipe
from real.trainer import Fit

from ._data import kind_of

DESCRIPTION = """Train one method on one real data set, choose the epoch on validation, look at the test part once.

The run folder keeps a checkpoint after every epoch; --resume goes on from it and ends with the same bytes as a run that was never stopped.
The result tells accuracy, macro-F1, calibration, what each frozen encoder still knows (linear probes), accuracy under every absence of
modalities, their Shapley values, and the throughput.

examples:
  mmtheory train htad                                              joint training on the data set that needs no download
  mmtheory train htad --method ogm-ge --fusion sum --json          another method and fusion
  mmtheory train htad --method pmr:alpha=0.5:mu=0                  a method with settings of its own
  mmtheory train av-digits --root free-spoken-digit-dataset --split speaker
  mmtheory train htad --recipe mine.toml --out runs/a --resume     settings from a file, a run that can be stopped
  mmtheory train crema-d --root CREMA-D --encoder image=resnet,audio=resnet --precision bf16 --channels-last --device cuda
  torchrun --nproc-per-node 2 -m mmtheory train htad --out runs/b  two processes, each its share of every mini-batch"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory train`` can be told."""

    dataset: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATASET", help_behavior_hint="")] = ""
    """The data set; `mmtheory data list` tells which there are."""
    root: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """The folder of its download."""
    method: Annotated[str | None, tyro.conf.arg(metavar="M", help_behavior_hint="(default: joint)")] = None
    """Training method; `mmtheory methods` tells which there are. Its settings stand behind colons (ogm:alpha=1)."""
    fusion: Annotated[str | None, tyro.conf.arg(metavar="F", help_behavior_hint="(default: concat)")] = None
    """Fusion of the features."""
    encoder: Annotated[str | None, tyro.conf.arg(metavar="E", help_behavior_hint="(default: auto)")] = None
    """One for all modalities, or MODALITY=E,MODALITY=E: auto (by kind), linear, mlp, cnn, transformer; of the library transformers resnet, vit, ast, bert, clip, with :SIZE or :FOLDER of weights."""
    adapters: Annotated[int | None, tyro.conf.arg(metavar="RANK", help_behavior_hint="(default: 0, none)")] = None
    """Train low-rank adapters of that rank in place of encoders of transformers."""
    teacher: Annotated[str | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder of a unimodal or ume training on the same data and seed, whose encoders mmlora starts from."""
    epochs: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 30)")] = None
    """Epochs."""
    lr: Annotated[float | None, tyro.conf.arg(metavar="X", help_behavior_hint="(default: 0.002)")] = None
    """Learning rate."""
    batch_size: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 64)")] = None
    """Samples a step."""
    precision: Annotated[
        Precision | None, tyro.conf.arg(metavar="float32|bf16|fp16", help_behavior_hint="(default: float32)")
    ] = None
    """Of the encoders' passes; gradients, losses and parameters stay float32."""
    accumulate: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: 1)")] = None
    """Parts in which encoders take a mini-batch."""
    channels_last: bool = False
    """Lay pictures out with their channels last."""
    compile: bool = False
    """Compile encoders by torch.compile."""
    inputs: Annotated[
        Literal["auto", "device", "host"] | None,
        tyro.conf.arg(metavar="auto|device|host", help_behavior_hint="(default: auto)"),
    ] = None
    """Where training inputs lie; from the host they are copied ahead of their use."""
    tensorboard: bool = False
    """Write every epoch for TensorBoard, in the run folder."""
    split: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: the first)")] = None
    """Which of the data set's splits."""
    seed: Annotated[int, tyro.conf.arg(metavar="S")] = 0
    """Seed of all randomness, at least 0."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to compute."""
    recipe: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """TOML file, or the name of a shipped recipe; options on the command line win."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Run folder, new or empty; by default a new one under ./runs."""
    resume: bool = False
    """Go on with the run in --out."""
    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="train", description=DESCRIPTION)
    if not options.dataset or options.seed < 0:
        raise ArgumentError(
            f"train: expected the name of a data set and --seed >= 0, found {options.dataset or 'no name'} and seed {options.seed}"
        )
    if options.resume and options.out is None:
        raise StoreError("train: expected --out DIR, the run to resume, found none")
    need_device(options.device)
    with crew(options.device) as together:
        return _run(options, together)


def _run(options: Options, together: Crew) -> int:
    """Train, and in the first process keep and tell."""
    kind, recipe = kind_of(options.dataset), recipe_of(options)
    folder = run_folder(options.out, "train", options.dataset, recipe.method, options.seed)
    device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if options.device == "cuda" else options.device
    fit = Fit(kind(options.root), recipe, options.seed, options.split, device, folder, together)
    told = _noted(fit, 0)
    if not together.rank:
        open_run(folder, "train", fit.question, seed=options.seed, device=options.device, resume=options.resume)
    if options.resume:
        fit.resume()
    try:
        fit.run((lambda line: _progress(line, recipe.epochs)) if not together.rank else lambda _line: None)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"mmtheory: interrupted after epoch {fit.trainer.epoch}; the same command with --out {folder} --resume goes on\n"
        )
        return 130
    _noted(fit, told)
    if together.rank:
        return 0
    found = {**fit.measure(), "out": str(folder)}
    write_whole(folder / "result.json", json.dumps(found, indent=1, allow_nan=False).encode())
    _tell(found, as_json=options.json)
    return 0


def _noted(fit: Fit, told: int) -> int:
    """Tell the notes that were not told yet; how many there are now."""
    for note in fit.notes[told:]:
        sys.stderr.write(f"mmtheory: {note}\n")
    return len(fit.notes)


def recipe_of(options: Options) -> Recipe:
    """The options over the recipe's file over the defaults."""
    base = Recipe() if options.recipe is None else read_recipe(options.recipe)
    named = (
        "fusion",
        "epochs",
        "lr",
        "batch_size",
        "adapters",
        "precision",
        "accumulate",
        "inputs",
        "teacher",
    )
    told = {name: value for name in named if (value := getattr(options, name)) is not None}
    told |= {name: True for name in ("channels_last", "compile", "tensorboard") if getattr(options, name)}
    if options.encoder is not None:
        told["encoder"] = encoders_of(options.encoder)
    return replace(base if options.method is None else base.of(options.method), **told)


def encoders_of(text: str) -> str | dict[str, str]:
    """One encoder for all, or one a modality.

    >>> encoders_of("cnn"), encoders_of("audio=ast,visual=resnet:18")
    ('cnn', {'audio': 'ast', 'visual': 'resnet:18'})
    """
    if "=" not in text:
        return text
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(m and equals and e for m, equals, e in pairs) or len({m for m, _, _ in pairs}) < len(pairs):
        raise ArgumentError(
            f"train: expected --encoder E or MODALITY=E,MODALITY=E with every modality once, found {text!r}"
        )
    return {m: e for m, _, e in pairs}


def need_device(device: str) -> None:
    """:raises ArgumentError: torch cannot compute there."""
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ArgumentError(f"expected a CUDA device for --device {device}, found none (torch {torch.__version__})")


def _progress(line: Mapping[str, Any], epochs: int) -> None:
    sys.stderr.write(
        f"epoch {line['epoch']}/{epochs}: validation {100 * line['validation_accuracy']:.1f} %, {line['samples_per_second']:,.0f} samples/s\n"
    )


def _tell(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(found, allow_nan=False) + "\n")
        return
    test, recipe = found["test"], found["recipe"]
    lines = [
        f"{found['dataset']} ({found['split']}), {recipe['method']}, {recipe['fusion']}, seed {found['seed']}: epoch {found['best_epoch']} of {found['epochs']} was best on validation",
        f"    test accuracy {100 * test['accuracy']:.1f} % ({_between(test['accuracy_interval'])} at 95 %; validation {100 * found['validation']['accuracy']:.1f} %), macro-F1 {100 * test['macro_f1']:.1f} %",
        f"    calibration error {test['ece']:.3f}, log-loss {test['nll']:.3f} nat",
        "    linear probes: " + _percent(found["probes"]),
    ]
    if found["ranking"] is not None:
        ranks = {k: v for k, v in found["ranking"].items() if k != "lists" and v is not None}
        lines.append(
            f"    ranking of {found['ranking']['lists']} lists: " + (_percent(ranks) or "nothing to find in any")
        )
    if found["guiding_rule"] is not None:
        rule = found["guiding_rule"]
        told = {"predictions averaged": rule["averaged"], "features read out together": rule["joint"]}
        lines.append(f"    guiding rule, on validation: {_percent(told)}: take {rule['advice']}")
    if found["missing"] is not None:
        lines += [
            "    only these there: " + _percent(found["missing"]),
            "    Shapley values: " + _percent(found["shapley"]),
        ]
    sys.stdout.write("\n".join([*lines, f"    {found['out']}"]) + "\n")


def _between(ends: Sequence[float]) -> str:
    return f"{100 * ends[0]:.1f} to {100 * ends[1]:.1f}"


def _percent(values: dict[str, float]) -> str:
    shown = list(values.items())[:12]
    return ", ".join(f"{k} {100 * v:.1f} %" for k, v in shown) + (" …" if len(values) > 12 else "")
