"""The benchmark: methods × data sets × seeds with paired splits, an equal tuning budget, and a store that can be resumed."""

from __future__ import annotations

import math
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
from mmtheory.errors import ArgumentError
from mmtheory.experiment import made_by, open_run, processes
from mmtheory.methods import METHODS, Unimodal
from mmtheory.rng import Stream
from mmtheory.training import Trainer
from real.data import DATASETS, Dataset, Parts

from .evaluation import METRICS, accuracy
from .network import builder, moved, stacked, standardised
from .question import EXPERIMENT, Question
from .recipe import Recipe
from .table import rows_of
from .trainer import Fit, LossError
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
    recipe = replace(Recipe(**told), method=factors["method"])
    data = DATASETS[name](Path(roots[name]) if name in roots else None)
    start, dtype = time.perf_counter(), getattr(torch, recipe.dtype)
    split, device, seeds = settings["splits"].get(name), settings["device"], factors["seeds"]
    tried = tries(recipe.method, settings["lrs"], settings["tune"])
    parts = [standardised(data.load(split, seed=seed), data.modalities, dtype) for seed in seeds[:1]]
    size = sum(v.numel() * v.element_size() for v in parts[0].train.x.values())
    alike = True
    if size * len(seeds) * len(tried) <= STACKED_BYTES and not recipe.singly:
        parts += [standardised(data.load(split, seed=seed), data.modalities, dtype) for seed in seeds[1:]]
        alike = len({(p.train.n, p.validation.n, p.test.n) for p in parts}) == 1
    if recipe.singly:
        found = [one_by_one(data, recipe, split, s, tried, device) for s in seeds]
    elif len(parts) == len(seeds) and alike:
        found = [chosen(data, stacked(parts), recipe, seeds, tried, device)]
    else:
        found = [
            chosen(
                data,
                moved(standardised(data.load(split, seed=s), data.modalities, dtype), device),
                recipe,
                [s],
                tried,
                device,
            )
            for s in seeds
        ]
    joined = {
        k: {m: [x for part in found for x in part[k][m]] for m in found[0][k]}
        for k in ("metrics", "unimodal", "chosen")
    }
    steps = recipe.epochs * math.ceil(parts[0].train.n / recipe.batch_size) * len(tried) * len(seeds)
    return {**joined, "cost": recipe.make_method().card.cost, "steps": steps, "seconds": time.perf_counter() - start}


def chosen(
    data: Dataset, parts: Parts, recipe: Recipe, seeds: Sequence[int], tried: Sequence[Mapping[str, float]], device: str
) -> dict[str, dict[str, list[float]]]:
    """Test metrics of every seed at the settings and epoch that were best on its validation part."""
    several = parts.train.y.ndim > 1
    parts = moved(repeated(parts, len(tried)) if several else parts, device)
    columns = {
        k: torch.tensor([point[k] for point in tried], device=device).repeat_interleave(len(seeds)) for k in tried[0]
    }
    rates = columns.pop("lr")
    method = METHODS[recipe.method](**recipe.strengths, **columns) if columns else recipe.make_method()
    build = builder(data.modalities, len(data.classes), recipe, parts.train)
    trainer = Trainer(
        build, method, parts.train, settings=replace(recipe.settings(), lr=rates), validation=parts.validation,
        stream=Stream(0, ("bench", data.name)), replicates=[*seeds] * len(tried), device=device,
    )  # fmt: skip
    best = _Best(len(tried), len(seeds))
    own = {m: _Best(len(tried), len(seeds)) for m in data.modalities} if type(trainer.method) is Unimodal else {}
    for epoch in range(1, recipe.epochs + 1):
        trainer.run(1)
        held, test = trainer.predict(parts.validation), trainer.predict(parts.test)
        best.see(epoch, held, test, parts, trainer.alive)
        for m, mine in own.items():
            mine.see(epoch, _alone(trainer, parts.validation, m), _alone(trainer, parts.test, m), parts, trainer.alive)
    logits, y = best.decide(data.name, recipe.method), parts.test.y[: len(seeds)] if several else parts.test.y
    metrics = {name: metric(logits, y.expand(logits.shape[:-1])).tolist() for name, metric in METRICS.items()}
    unimodal = {m: accuracy(b.decide(data.name, m), y.expand(len(seeds), y.shape[-1])).tolist() for m, b in own.items()}
    return {
        "metrics": metrics,
        "unimodal": unimodal,
        "chosen": {
            **{k: [tried[i][k] for i in best.which.tolist()] for k in tried[0]},
            "epoch": best.epochs.tolist(),
            "validation": best.held.tolist(),
        },
    }


def one_by_one(
    data: Dataset, recipe: Recipe, split: str | None, seed: int, tried: Sequence[Mapping[str, float]], device: str
) -> dict[str, dict[str, list[float]]]:
    """The same for one seed, each try trained as ``mmtheory train`` does it: for networks that carry no replicate axis.

    Unimodal classifiers are looked at where their mean prediction was best on validation.

    :raises ArgumentError: no try kept a finite loss.
    """
    best, point = None, dict(tried[0])
    for told in tried:
        strengths = {**recipe.strengths, **{k: v for k, v in told.items() if k != "lr"}}
        try:
            fit = Fit(data, replace(recipe, lr=told["lr"], strengths=strengths), seed, split, device).run()
        except LossError:
            continue
        if best is None or fit.best_accuracy > best.best_accuracy:
            best, point = fit, dict(told)
    if best is None:
        raise ArgumentError(f"{data.name} {recipe.method}: expected a finite loss in one try at least, found none")
    best.trainer.load_state_dict(best.best)
    test = best.parts.test
    logits = best.trainer.predict(test, size=best.look)
    own = data.modalities if isinstance(best.trainer.method, Unimodal) else ()
    return {
        "metrics": {name: [float(metric(logits, test.y))] for name, metric in METRICS.items()},
        "unimodal": {m: [float(accuracy(_alone(best.trainer, test, m), test.y))] for m in own},
        "chosen": {
            **{k: [v] for k, v in point.items()}, "epoch": [best.best_epoch], "validation": [best.best_accuracy],
        },
    }  # fmt: skip


@torch.no_grad()
def _alone(trainer: Trainer, part: Batch, modality: str) -> Tensor:
    """What the unimodal classifier of one modality says."""
    method = trainer.method
    if not isinstance(method, Unimodal):
        raise ArgumentError(f"bench: expected the unimodal reference, found {method.card.name}")
    heard = part.only((modality,))
    if part.y.ndim == 1:
        lead = trainer.batch_shape
        heard = Batch({m: v.expand(*lead, *v.shape) for m, v in heard.x.items()}, heard.y.expand(*lead, heard.n))
    features = trainer.model.encode(heard.x, frozenset((modality,)))[modality]
    return trainer.auxiliary[f"head:{modality}"](features)


class _Best:
    """The test logits of every replicate at its best epoch, then of every seed at its best try, both on validation."""

    def __init__(self, tries: int, seeds: int) -> None:
        self.shape = (tries, seeds)
        self.score = torch.full((tries * seeds,), -1.0, dtype=torch.float64)
        self.epoch = torch.zeros(tries * seeds, dtype=torch.int64)
        self.logits: Tensor | None = None
        self.which = self.epochs = self.held = torch.zeros(seeds)

    def see(self, epoch: int, held: Tensor, test: Tensor, parts: Parts, alive: Tensor) -> None:
        """Another epoch."""
        finite = alive & held.isfinite().all(-1).all(-1) & test.isfinite().all(-1).all(-1)
        score = torch.where(finite, accuracy(held, parts.validation.y.expand(held.shape[:-1])), -1.0).cpu()
        better, test = score > self.score, test.cpu()
        self.logits = test if self.logits is None else torch.where(better[:, None, None], test, self.logits)
        self.epoch = torch.where(better, epoch, self.epoch)
        self.score = torch.where(better, score, self.score)

    def decide(self, dataset: str, what: str) -> Tensor:
        """Logits [seeds, n, classes] at the best try of each seed, the first among equals."""
        score = self.score.view(self.shape)
        self.held, self.which = score.max(0).values, score.argmax(0)
        if self.logits is None or bool((self.held < 0).any()):
            raise ArgumentError(f"{dataset} {what}: expected a finite loss in one try at least, found none")
        places = self.which * self.shape[1] + torch.arange(self.shape[1])
        self.epochs = self.epoch[places]
        return self.logits[places]


def repeated(parts: Parts, times: int) -> Parts:
    """The replicates so many times one after the other."""

    def again(b: Batch) -> Batch:
        return Batch(
            {m: torch.cat([v] * times) for m, v in b.x.items()}, torch.cat([b.y] * times),
            {m: torch.cat([v] * times) for m, v in b.present.items()},
        )  # fmt: skip

    return Parts(again(parts.train), again(parts.validation), again(parts.test))
