"""One ensemble: a method at every point of a sweep, learning rate and seed, trained together and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.experiment import finite
from mmtheory.methods import METHODS, Method, default_contribution, discrepancy, label_scores
from mmtheory.models import FUSIONS, MLPEncoder, MultimodalModel
from mmtheory.rng import Draws, Stream
from mmtheory.training import Settings, Trainer

from ._inputs import Parts, parts, world_at

WATCHED = 256
"""Training samples on which traces are taken."""


def measure(factors: Mapping[str, Any], note: Callable[[Any], None]) -> Mapping[str, Any]:
    """A cell of the laboratory, as JSON; traces are means over seeds."""
    found = trained(factors, METHODS[factors["method"]](), Stream(factors["seed"], ("imbalance",)), note)
    traces = {k: v.mean(-2).tolist() for k, v in found.traces.items()}
    metrics = {k: v.tolist() for k, v in found.metrics.items()}
    return finite({"metrics": metrics, "traces": traces, "alive": found.alive.tolist()})


@dataclass(frozen=True)
class Ensemble:
    """What a stack measured: metrics [point, rate, seed], NaN where training was stopped; traces [point, rate, seed, epoch]."""

    metrics: Mapping[str, Tensor]
    traces: Mapping[str, Tensor]
    alive: Tensor


def trained(factors: Mapping[str, Any], method: Method, root: Stream, note: Callable[[Any], None]) -> Ensemble:
    """Train one method at all points, learning rates and seeds of an axis in one stack, and measure it.

    Metrics: ``accuracy`` of the test samples, ``probe m`` (a ridge readout of encoder m's
    frozen features), ``without m`` (accuracy with modality m absent); ``validation`` and ``validation probe m`` of the validation samples.
    Traces: ``ratio m`` (the discrepancy ratio) and ``gradient m`` (the norm of the joint loss's gradient in owner m).
    """
    points, rates, seeds = factors["points"], factors["rates"], factors["seeds"]
    worlds = [world_at(factors["world"], factors["dials"], point) for point in points]
    drawn = parts(worlds, factors["sizes"], stream=root.child("data"), seeds=seeds)
    data = _for_rates(drawn, len(points), len(rates), len(seeds))
    lr = torch.tensor(rates, dtype=torch.float32)[None, :, None].expand(len(points), -1, len(seeds)).reshape(-1)
    trainer = Trainer(
        _builder(data, factors["fusion"]),
        method,
        data.train,
        settings=Settings(epochs=factors["epochs"], batch_size=factors["batch"], optimiser=factors["optimiser"], lr=lr),
        stream=root.child("train"),
        replicates=[s for _ in range(len(points) * len(rates)) for s in seeds],
        validation=data.validation,
    )
    traces: dict[str, list[Tensor]] = {}
    for epoch in range(factors["epochs"]):
        trainer.run(1)
        for name, value in _watch(trainer, data.train.rows(slice(0, WATCHED))).items():
            traces.setdefault(name, []).append(value)
        note(epoch + 1)
    shape = (len(points), len(rates), len(seeds))
    return Ensemble(
        {name: value.reshape(shape) for name, value in _metrics(trainer, data).items()},
        {name: torch.stack(value, -1).reshape(*shape, -1) for name, value in traces.items()},
        trainer.alive.reshape(shape),
    )


def _for_rates(drawn: Parts, points: int, rates: int, seeds: int) -> Parts:
    """The same samples once for each learning rate."""

    def wide(part: Tensor) -> Tensor:
        split = part.reshape(points, 1, seeds, *part.shape[1:])
        return split.expand(-1, rates, *(-1,) * (split.ndim - 2)).flatten(0, 2)

    def spread(b: Batch) -> Batch:
        return Batch({m: wide(v) for m, v in b.x.items()}, wide(b.y), {m: wide(v) for m, v in b.present.items()})

    return Parts(spread(drawn.train), spread(drawn.validation), spread(drawn.test), drawn.classes)


def _builder(data: Parts, fusion: str) -> Callable[[Draws], MultimodalModel]:
    """Two dense layers, 32 and 16 wide, for each modality, and the fusion."""
    widths = {m: (x.shape[-1], 32, 16) for m, x in data.train.x.items()}

    def build(draws: Draws) -> MultimodalModel:
        encoders = {m: MLPEncoder(w, draws=draws, name=m) for m, w in widths.items()}
        head = FUSIONS[fusion](dict.fromkeys(widths, 16), data.classes, draws=draws)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return build


def _metrics(trainer: Trainer, data: Parts) -> dict[str, Tensor]:
    """Every metric, [R]."""
    with torch.no_grad():
        found = {
            "accuracy": accuracy(trainer.predict(data.test), data.test.y),
            "validation": accuracy(trainer.predict(data.validation), data.validation.y),
        }
        seen, held, unseen = (trainer.model.encode(b.x) for b in (data.train, data.validation, data.test))
        for m in trainer.model.modalities:
            found[f"probe {m}"] = ridge_probe(seen[m], data.train.y, unseen[m], data.test.y, data.classes)
            found[f"validation probe {m}"] = ridge_probe(
                seen[m], data.train.y, held[m], data.validation.y, data.classes
            )
        for m in trainer.model.modalities:
            gone = {**data.test.present, m: torch.zeros_like(data.test.y, dtype=torch.bool)}
            found[f"without {m}"] = accuracy(trainer.predict(Batch(data.test.x, data.test.y, gone)), data.test.y)
    alive = trainer.alive
    return {name: torch.where(alive, value, torch.nan) for name, value in found.items()}


def accuracy(scores: Tensor, y: Tensor) -> Tensor:
    """Share of samples whose highest score is their label's. Shape: [*batch, n, classes], [*batch, n] to [*batch]."""
    return (scores.argmax(-1) == y).double().mean(-1)


def ridge_probe(seen: Tensor, y: Tensor, unseen: Tensor, truth: Tensor, classes: int, *, ridge: float = 1e-3) -> Tensor:
    """Accuracy of a ridge regression from frozen features to one-hot labels.

    Shape: seen [*batch, n, d], y [*batch, n], unseen [*batch, k, d], truth [*batch, k] to [*batch].

    :param ridge: share of the mean feature variance that is added to the covariance's diagonal.
    """
    mean = seen.mean(-2, keepdim=True)
    centred, target = (seen - mean).double(), one_hot(y, classes).double()
    cov = centred.mT @ centred
    size = cov.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None].clamp(min=1e-12)
    weights = torch.linalg.solve(
        cov + ridge * size * torch.eye(cov.shape[-1], dtype=cov.dtype, device=cov.device), centred.mT @ target
    )
    return accuracy((unseen - mean).double() @ weights + target.mean(-2, keepdim=True), truth)


def _watch(trainer: Trainer, batch: Batch) -> dict[str, Tensor]:
    """Discrepancy ratios and gradient norms of the joint loss on a few training samples, [R] each."""
    model = trainer.model
    out = model(batch.x, None, batch.present)
    with torch.no_grad():
        said = default_contribution(model).logits(model, out.features)
        ratios = discrepancy(label_scores(said, batch.y))
    loss = torch.nn.functional.cross_entropy(out.logits.flatten(0, 1), batch.y.flatten(), reduction="none")
    found = torch.autograd.grad(
        loss.view(batch.y.shape).mean(-1).sum(), trainer.flat.parameters, allow_unused=True, materialize_grads=True
    )
    flat = trainer.flat.gather(found)
    norms = {f"gradient {m}": flat[..., trainer.flat.columns[m]].norm(dim=-1) for m in model.modalities}
    return {**{f"ratio {m}": r for m, r in ratios.items()}, **norms}
