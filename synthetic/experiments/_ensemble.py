"""One ensemble: a method at every point of a sweep, learning rate and seed, trained together and measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.diagnose import decay, follow, hits, raw_probes, unimodal_probes, worth
from mmtheory.experiment import finite, summary
from mmtheory.methods import Method, made
from mmtheory.rng import Stream
from mmtheory.training import Settings, Trainer
from mmtheory.world import World

from ._inputs import Parts, parts, world_at
from ._networks import builder

WATCHED = 256
"""Training samples on which traces are taken."""


def measure(factors: Mapping[str, Any], _note: Callable[[Any], None]) -> Mapping[str, Any]:
    """A cell of the laboratory, as JSON; traces are means over seeds with Student's 95 % intervals.

    Joint training also says what a diagnosis needs: ``raw m``, a readout of the inputs, and ``decay m``, of the discrepancy ratio.
    """
    root = Stream(factors["seed"], ("imbalance",))
    drawn = samples(factors, root)
    found = trained(factors, made(factors["method"]), root, drawn=drawn)
    if factors["method"] == "joint":
        found = replace(found, metrics={**found.metrics, **_evidence(found, drawn)})
    traces = {k: [[_over_seeds(stack) for stack in point] for point in v] for k, v in found.traces.items()}
    metrics = {k: v.tolist() for k, v in found.metrics.items()}
    return finite({"metrics": metrics, "traces": traces, "alive": found.alive.tolist()})


def _evidence(found: Ensemble, drawn: Parts) -> dict[str, Tensor]:
    """``raw m`` and, with classes, ``decay m``, [point, rate, seed]; the former knows no learning rate."""
    points, rates, seeds = found.alive.shape
    raw = raw_probes(drawn.train, drawn.test, drawn.classes)
    told = {f"raw {m}": v.mean(-1).reshape(points, 1, seeds).expand(-1, rates, -1) for m, v in raw.items()}
    leads = {name.removeprefix("ratio "): trace for name, trace in found.traces.items() if name.startswith("ratio ")}
    gone = {f"decay {m}": torch.where(found.alive, decay(trace), torch.nan) for m, trace in leads.items()}
    return {**told, **gone}


def _over_seeds(traces: Tensor) -> dict[str, list[float | None]]:
    """Mean, low and high at each epoch, over the seeds that still have a number then. Shape: traces [seed, epoch]."""
    told = [summary([v for v in epoch if math.isfinite(v)]) for epoch in traces.double().mT.tolist()]
    return {name: [epoch[name] for epoch in told] for name in ("mean", "low", "high")}


@dataclass(frozen=True)
class Ensemble:
    """What a stack measured: metrics [point, rate, seed], NaN where training was stopped; traces [point, rate, seed, epoch]."""

    metrics: Mapping[str, Tensor]
    traces: Mapping[str, Tensor]
    alive: Tensor


def trained(
    factors: Mapping[str, Any], method: Method, root: Stream, *, drawn: Parts | None = None, watch: bool = True
) -> Ensemble:
    """Train one method at all points, learning rates and seeds of an axis in one stack, and measure it.

    Metrics: ``accuracy`` of the test samples, ``probe m`` (a ridge readout of encoder m's
    frozen features), ``without m`` (accuracy with modality m absent); ``validation`` and ``validation probe m`` of the validation samples.
    Traces: ``ratio m`` (the discrepancy ratio), ``gradient m`` (the norm of the joint loss's gradient in encoder m),
    ``cosine m`` (between that and the gradient of m's own loss; below 0 is a conflict).

    With numbers as targets: ``mse`` and ``mse without m`` are mean squared errors, probes and ``validation`` shares of variance explained
    (R²), and the trace ``share m``, how much of the target's variance goes with m's part of the output, is in place of the ratio.

    :param drawn: samples from ``samples`` with the same factors, where several methods share them.
    :param watch: take traces, which costs half as much again.
    """
    points, rates, seeds = factors["points"], factors["rates"], factors["seeds"]
    data = _for_rates(drawn or samples(factors, root), len(points), len(rates), len(seeds))
    worlds = [w for w in _worlds(factors) for _ in range(len(rates) * len(seeds))]
    lr = torch.tensor(rates, dtype=torch.float32)[None, :, None].expand(len(points), -1, len(seeds)).reshape(-1)
    trainer = Trainer(
        builder(data, factors["fusion"], worlds),
        method,
        data.train,
        settings=Settings(
            epochs=factors["epochs"],
            batch_size=factors["batch"],
            optimiser=factors["optimiser"],
            lr=lr,
            loss="squared" if data.numbers else "cross-entropy",
        ),
        stream=root.child("train"),
        replicates=[s for _ in range(len(points) * len(rates)) for s in seeds],
        validation=data.validation,
    )
    traces = _followed(trainer, data) if watch else dict[str, Tensor]()
    trainer.run()
    shape = (len(points), len(rates), len(seeds))
    return Ensemble(
        {name: value.reshape(shape) for name, value in _metrics(trainer, data).items()},
        {name: value.reshape(*shape, -1) for name, value in traces.items()},
        trainer.alive.reshape(shape),
    )


def samples(factors: Mapping[str, Any], root: Stream) -> Parts:
    """What an ensemble with these factors is trained and judged on."""
    sign = factors.get("sign", False)
    return parts(_worlds(factors), factors["sizes"], stream=root.child("data"), seeds=factors["seeds"], sign=sign)


def _worlds(factors: Mapping[str, Any]) -> Sequence[World]:
    return [world_at(factors["world"], factors["dials"], point) for point in factors["points"]]


def _followed(trainer: Trainer, data: Parts) -> dict[str, Tensor]:
    """Traces of the whole training, [R, epoch]."""
    seen = follow(trainer, watch=data.train.rows(slice(0, WATCHED)))
    lead = {"share": seen.scores} if data.numbers else {"ratio": seen.ratios}
    kinds = {**lead, "gradient": seen.norms, "cosine": seen.cosines}
    return {f"{kind} {m}": found[m] for kind, found in kinds.items() for m in trainer.model.modalities}


def _for_rates(drawn: Parts, points: int, rates: int, seeds: int) -> Parts:
    """The same samples once for each learning rate."""

    def wide(part: Tensor) -> Tensor:
        split = part.reshape(points, 1, seeds, *part.shape[1:])
        return split.expand(-1, rates, *(-1,) * (split.ndim - 2)).flatten(0, 2)

    def spread(b: Batch) -> Batch:
        return Batch({m: wide(v) for m, v in b.x.items()}, wide(b.y), {m: wide(v) for m, v in b.present.items()})

    return Parts(spread(drawn.train), spread(drawn.validation), spread(drawn.test), drawn.classes)


def _metrics(trainer: Trainer, data: Parts) -> dict[str, Tensor]:
    """Every metric, [R]."""
    whole, without = ("mse", "mse without") if data.numbers else ("accuracy", "without")
    judge = _squared if data.numbers else hits
    with torch.no_grad():
        found = {
            whole: judge(trainer.predict(data.test), data.test.y).mean(-1),
            "validation": worth(trainer.predict(data.validation), data.validation.y).mean(-1),
        }
        for metric, batch in (("probe", data.test), ("validation probe", data.validation)):
            found |= {f"{metric} {m}": v.mean(-1) for m, v in unimodal_probes(trainer.model, data.train, batch).items()}
        for m in trainer.model.modalities:
            gone = {**data.test.present, m: torch.zeros_like(data.test.y, dtype=torch.bool)}
            said = trainer.predict(Batch(data.test.x, data.test.y, gone))
            found[f"{without} {m}"] = judge(said, data.test.y).mean(-1)
    alive = trainer.alive
    return {name: torch.where(alive, value, torch.nan) for name, value in found.items()}


def _squared(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error of each sample, [*batch, n]."""
    return (outputs.squeeze(-1).double() - y) ** 2
