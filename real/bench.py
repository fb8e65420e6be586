"""The benchmark: methods × data sets × seeds with paired splits, an equal tuning budget, and a store that can be resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.experiment import made_by, open_run, processes
from mmtheory.methods import configured
from mmtheory.rng import Stream
from mmtheory.training import Trainer
from real.data import DATASETS, Dataset, Parts

from .evaluation import METRICS, accuracy
from .network import builder, moved, stacked, standardised
from .question import EXPERIMENT, Question
from .recipe import Recipe
from .selection import Best, Watched, rows_at_once, watched
from .table import rows_of
from .trainer import Fit
from .tuning import tries

STACKED_BYTES = 256 << 20
"""Training data of several replicates that may lie side by side in memory; beyond it seeds are trained one after the other."""
Heard = Callable[[str, str | None], None]


def bench(
    question: Question,
    folder: Path,
    *,
    roots: Mapping[str, Path],
    resume: bool = False,
    workers: int | None = 0,
    heard: Heard = lambda _cell, _failure: None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of the table, and a sentence for each cell that could not be trained.

    :param roots: data set → folder of its download.
    :param workers: processes at once; None means one a core, 0 means in this process.
    :raises StoreError: a folder that answers another question.
    :raises DataError: a data set that is not there or broken, before anything is trained.
    """
    for name in question.datasets:
        DATASETS[name](roots.get(name)).codes(question.splits.get(name))
    store = open_run(folder, EXPERIMENT, question.as_json(), seed=0, device=question.device, resume=resume)
    sweep = question.sweep()
    provenance = made_by(device=question.device, seed=0)
    failures: dict[str, str] = {}
    missing = store.missing(sweep)
    work = partial(measure, {name: str(root) for name, root in roots.items()})
    for outcome in processes(workers, len(missing)).run(work, missing, lambda _cell, _note: None):
        factors = outcome.cell.factors
        shown = f"{factors['dataset']} {factors['method']} seeds {factors['seeds'][0]}–{factors['seeds'][-1]}"
        if outcome.measured is not None:
            stamp = {**provenance, "time": datetime.now(UTC).isoformat(timespec="seconds")}
            store.put(outcome.cell, outcome.measured, stamp)
        else:
            failures[shown] = outcome.failure or "no reason was given"
        heard(shown, outcome.failure)
    return rows_of(question, [store.get(cell) for cell in sweep if cell in store]), failures


def measure(roots: Mapping[str, str], factors: Mapping[str, Any], _note: object) -> dict[str, Any]:
    """One cell: the method on the data set, for all seeds of the block and all tries at once where memory allows."""
    settings, name = factors["settings"], factors["dataset"]
    told: dict[str, Any] = {**settings["recipe"], "milestones": tuple(settings["recipe"]["milestones"])}
    recipe = Recipe(**told).of(factors["method"])
    data = DATASETS[name](Path(roots[name]) if name in roots else None)
    start, dtype = time.perf_counter(), getattr(torch, recipe.dtype)
    split, device, seeds = settings["splits"].get(name), settings["device"], factors["seeds"]
    tried = tries(factors["method"], settings["lrs"], settings["tune"])

    def loaded(seed: int) -> Parts:
        return standardised(data.load(split, seed=seed), data.modalities, dtype)

    if recipe.singly:
        found = [one_by_one(data, recipe, split, s, tried, device) for s in seeds]
    else:
        parts = [loaded(seeds[0])]
        size = sum(v.numel() * v.element_size() for v in parts[0].train.x.values())
        if fits := size * len(seeds) * len(tried) <= STACKED_BYTES:
            parts += [loaded(seed) for seed in seeds[1:]]
        if fits and alike(parts):
            found = [side_by_side(data, stacked(parts), recipe, seeds, tried, device)]
        else:
            found = [side_by_side(data, loaded(s), recipe, [s], tried, device) for s in seeds]
    joined = {k: {m: [x for part in found for x in part[k][m]] for m in found[0][k]} for k in found[0]}
    return {**joined, "cost": recipe.make_method().card.cost, "seconds": time.perf_counter() - start}


def alike(parts: Sequence[Parts]) -> bool:
    """Whether splits have the same sizes, so that they fit side by side."""
    return len({(p.train.n, p.validation.n, p.test.n) for p in parts}) == 1


Found = dict[str, dict[str, list[float]]]


def side_by_side(
    data: Dataset, parts: Parts, recipe: Recipe, seeds: Sequence[int], tried: Sequence[Mapping[str, float]], device: str
) -> Found:
    """Test metrics of every seed at the settings and epoch that were best on its validation part."""
    several = parts.train.y.ndim > 1
    parts = moved(repeated(parts, len(tried)) if several else parts, device)
    columns = {
        k: torch.tensor([point[k] for point in tried], device=device).repeat_interleave(len(seeds)) for k in tried[0]
    }
    rates = columns.pop("lr")
    method = configured(recipe.method, {**recipe.strengths, **columns})
    build = builder(data.modalities, len(data.classes), recipe, parts.train)
    replicates = [*seeds] * len(tried)
    trainer = Trainer(
        build, method, parts.train, settings=replace(recipe.settings(), lr=rates), validation=parts.validation,
        stream=Stream(0, ("bench", data.name)), replicates=replicates, device=device,
    )  # fmt: skip
    size = rows_at_once(parts.train, len(replicates))
    seen = watched(lambda: trainer.run(1), trainer, parts, epochs=recipe.epochs, size=size)
    y = parts.test.y[: len(seeds)] if several else parts.test.y
    return _found([seen], y.cpu(), tried, f"{data.name} {recipe.method}")


def one_by_one(
    data: Dataset, recipe: Recipe, split: str | None, seed: int, tried: Sequence[Mapping[str, float]], device: str
) -> Found:
    """The same for one seed, each try trained as ``mmtheory train`` does it: for networks that carry no replicate axis."""
    seen: list[Watched] = []
    y = torch.empty(0)
    for told in tried:
        strengths = {**recipe.strengths, **{k: v for k, v in told.items() if k != "lr"}}
        fit = Fit(data, replace(recipe, lr=told["lr"], strengths=strengths), seed, split, device)
        seen.append(watched(fit.epoch, fit.trainer, fit.parts, epochs=recipe.epochs, size=fit.look))
        y = fit.parts.test.y.cpu()
    return _found(seen, y, tried, f"{data.name} {recipe.method}")


def _found(seen: Sequence[Watched], y: Tensor, tried: Sequence[Mapping[str, float]], who: str) -> Found:
    """What is told of trainings that are tries × seeds in all: every seed at its best try."""
    best = {name: Best.joined([w.best[name] for w in seen]) for name in seen[0].best}
    mine, which = best[""].of_tries(len(tried), who)
    y = y.expand(mine.logits.shape[:-1])
    own = {m: b.of_tries(len(tried), f"{who} {m}")[0] for m, b in best.items() if m}
    step = {
        "forwards": [w.cost.forwards for w in seen],
        "backwards": [w.cost.backwards for w in seen],
        "milliseconds": [1e3 * w.cost.seconds for w in seen],
    }
    return {
        "metrics": {name: metric(mine.logits, y).tolist() for name, metric in METRICS.items()},
        "unimodal": {m: accuracy(b.logits, y).tolist() for m, b in own.items()},
        "chosen": {
            **{k: [tried[i][k] for i in which.tolist()] for k in tried[0]},
            "epoch": mine.epoch.tolist(),
            "validation": mine.score.tolist(),
        },
        "step": {k: [sum(v) / len(v)] * len(which) for k, v in step.items()},
    }


def repeated(parts: Parts, times: int) -> Parts:
    """The replicates so many times one after the other."""

    def again(b: Batch) -> Batch:
        return Batch(
            {m: torch.cat([v] * times) for m, v in b.x.items()}, torch.cat([b.y] * times),
            {m: torch.cat([v] * times) for m, v in b.present.items()},
        )  # fmt: skip

    return Parts(again(parts.train), again(parts.validation), again(parts.test))
