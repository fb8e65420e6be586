"""The contract of a multi-modal model: what encoders, fusions and their owners must keep to."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from mmtheory.info import subsets
from mmtheory.methods import (
    AuxiliaryHeads,
    Contribution,
    LinearSplit,
    MeanBaseline,
    ShapleyShares,
    ZeroOut,
    cross_entropy,
)
from mmtheory.models import Encoder, MultimodalModel
from mmtheory.models.fusion import PROVIDERS
from mmtheory.rng import Draws, Stream

from ._watch import no_waiting

Build = Callable[[Draws], MultimodalModel]
Inputs = Callable[[Draws, int], Mapping[str, Tensor]]
WAYS: tuple[type[Contribution], ...] = (LinearSplit, ZeroOut, MeanBaseline, ShapleyShares, AuxiliaryHeads)


def check_model(build: Build, *, inputs: Inputs | None = None, stream: Stream | None = None, n: int = 6) -> None:
    """Fail with a sentence unless this makes models: stacked as separate, owned, indifferent to order, honest about shares.

    - every parameter has exactly one owner and some loss reaches it; encoders keep the width and shape that they declare;
    - R stacked replicates give the logits and gradients of R separate models (1e-10 in float64, 1e-4 in float32);
    - a sample's logits depend on no other sample, and not on the order in which modalities are named;
    - an absent modality has no say; the contributions that the fusion admits can be had, exact ones sum to the logits;
    - gradients are those of finite differences (float64 alone); the forward never waits for the device.

    :param build: a model from the draws of its initial numbers, as the ``Trainer`` takes it; float64 checks most.
    :param inputs: (draws, n) to inputs by modality; None takes normal numbers of the encoders' declared ``shape``.
    :param n: samples, at least 2.
    :raises AssertionError: naming the class and the broken clause.
    """
    start = stream or Stream(0, ("check_model",))
    probe = build(start.child("model").draws(range(2)))
    who = f"model with {type(probe.fusion).__name__}"
    assert tuple(probe.batch_shape) == (2,), (
        f"{who}: expected batch shape (2,) of these draws, found {probe.batch_shape}"
    )
    _check_owners(who, probe)
    given = inputs or (lambda draws, count: _normal(who, probe, draws, count))
    x = dict(given(start.child("inputs").draws(range(2)), n))
    _check_widths(who, probe, x, n)
    _check_reach(who, probe, x)
    alone = [build(start.child("model").child(r).draws()) for r in range(2)]
    _check_stacking(who, probe, alone, x)
    _check_samples_and_names(who, probe, x, n)
    _check_absence(who, probe, x)
    _check_contributions(who, probe, x, start)
    _check_slope(who, alone[0], {m: v[0] for m, v in x.items()})
    with no_waiting(who):
        probe(x)


def _normal(who: str, model: MultimodalModel, draws: Draws, n: int) -> dict[str, Tensor]:
    """Normal numbers of the declared shapes."""
    dtype = next(model.parameters()).dtype
    found: dict[str, Tensor] = {}
    for m, encoder in model.encoders.items():
        shape: tuple[int, ...] | None = getattr(encoder, "shape", None)
        assert shape is not None, (
            f"{who}: expected encoder {type(encoder).__name__} of {m!r} to declare its sample's shape"
        )
        found[m] = draws.normal(m, n, *shape).to(dtype)
    return found


def _near(a: Tensor, b: Tensor) -> bool:
    tolerance = 1e-10 if a.dtype == torch.float64 else 1e-4
    return bool(((a - b).abs() <= tolerance * (1 + b.abs().max())).all())


def _check_owners(who: str, model: MultimodalModel) -> None:
    names = {id(p): name for name, p in model.named_parameters()}
    times = dict.fromkeys(names, 0)
    for owner in model.owners:
        for p in model.owned(owner):
            times[id(p)] += 1
            assert p.shape[:1] == (2,), (
                f"{who}: expected {names[id(p)]} to begin with the replicates (2,), found {tuple(p.shape)}"
            )
    for key, count in times.items():
        assert count == 1, f"{who}: expected one owner of {names[key]} among {model.owners}, found {count}"


def _check_widths(who: str, model: MultimodalModel, x: Mapping[str, Tensor], n: int) -> None:
    features = model.encode(x)
    for m, encoder in model.encoders.items():
        assert isinstance(encoder, Encoder), f"{who}: expected an Encoder for {m!r}, found {type(encoder).__name__}"
        shape = tuple(features[m].shape)
        assert shape == (2, n, encoder.width), (
            f"{who}: expected features of {m!r} {(2, n, encoder.width)}, found {shape}"
        )
    logits = model.fuse(features)
    expected = (2, n, model.fusion.classes)
    assert tuple(logits.shape) == expected, f"{who}: expected logits {expected}, found {tuple(logits.shape)}"
    assert bool(logits.isfinite().all()), f"{who}: expected finite logits"


def _check_reach(who: str, model: MultimodalModel, x: Mapping[str, Tensor]) -> None:
    everybody = frozenset(model.modalities)
    loss = torch.stack([model(x, everybody - {m}).logits.sum() for m in model.modalities]).sum() + model(x).logits.sum()
    names, parameters = zip(*model.named_parameters(), strict=True)
    for name, g in zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
        assert g is not None, f"{who}: expected every parameter to be reached by the logits, found {name} unreached"


def _gradients(model: MultimodalModel, x: Mapping[str, Tensor]) -> list[Tensor]:
    named = [p for m, p in model.named_parameters() if not m.startswith("stand_ins")]
    return list(torch.autograd.grad(model(x).logits.sin().sum(), named))


def _check_stacking(who: str, stacked: MultimodalModel, alone: list[MultimodalModel], x: Mapping[str, Tensor]) -> None:
    logits, gradients = stacked(x).logits, _gradients(stacked, x)
    for r, model in enumerate(alone):
        row = {m: v[r] for m, v in x.items()}
        assert _near(logits[r], model(row).logits), (
            f"{who}: stacked replicate {r} is not the model trained alone: logits differ"
        )
        for g, h in zip(gradients, _gradients(model, row), strict=True):
            assert _near(g[r], h), f"{who}: stacked replicate {r} is not the model trained alone: gradients differ"


def _check_samples_and_names(who: str, model: MultimodalModel, x: Mapping[str, Tensor], n: int) -> None:
    logits, half = model(x).logits, n // 2
    some = model({m: v[:, :half] for m, v in x.items()}).logits
    assert _near(some, logits[:, :half]), f"{who}: expected a sample's logits to depend on no other sample"
    turned = dict(reversed(model.encode(x).items()))
    assert _near(model.fusion(turned), logits), f"{who}: expected the order in which modalities are named not to matter"


def _check_absence(who: str, model: MultimodalModel, x: Mapping[str, Tensor]) -> None:
    for m in model.modalities:
        if len(model.modalities) == 1:
            return
        others = frozenset(model.modalities) - {m}
        loud = {**x, m: x[m] * 0 + 7}
        same = _near(model(loud, others).logits, model(x, others).logits)
        assert same, f"{who}: expected {m!r} to have no say when it is not heard"
        nobody = {m: torch.zeros(x[m].shape[:2], dtype=torch.bool)}
        same = _near(model(loud, None, nobody).logits, model(x, others).logits)
        assert same, f"{who}: expected {m!r} to have no say where it is not present"


def _check_contributions(who: str, model: MultimodalModel, x: Mapping[str, Tensor], stream: Stream) -> None:
    admitted = model.fusion.admits
    assert admitted <= set(PROVIDERS), f"{who}: expected providers among {PROVIDERS}, found {sorted(admitted)}"
    z = model.encode(x)
    whole, empty = model.fuse(z), model.fuse(z, frozenset())
    for way in WAYS:
        provider = way()
        provider.auxiliary(model, stream.child("heads").draws(range(2)))
        if provider.refuse(model):
            continue
        shares = provider.logits(model, z)
        assert set(shares) == set(z), f"{who}: expected a share of {sorted(z)} by {way.name}, found {sorted(shares)}"
        if provider.exact:
            known = whole - empty if way is ShapleyShares else whole
            total = torch.stack(list(shares.values())).sum(0)
            assert _near(total, known), f"{who}: expected the shares by {way.name} to sum to the logits"
    for s in subsets(model.modalities):
        assert bool(model.fuse(z, s).isfinite().all()), f"{who}: expected finite logits when {sorted(s)} are heard"


def _check_slope(who: str, model: MultimodalModel, x: Mapping[str, Tensor]) -> None:
    """The slope of the loss along one direction, by the gradient and by central differences of two widths."""
    free = list(model.parameters())
    if free[0].dtype != torch.float64:
        return
    y = torch.arange(next(iter(x.values())).shape[0]) % model.fusion.classes
    way = [torch.sin(torch.arange(p.numel(), dtype=p.dtype) + 1.0).view(p.shape) for p in free]

    def loss() -> Tensor:
        return cross_entropy(model(x).logits, y).mean()

    found = torch.autograd.grad(loss(), free, allow_unused=True, materialize_grads=True)
    slope = sum(float((g * v).sum()) for g, v in zip(found, way, strict=True))
    here = [p.detach().clone() for p in free]

    @torch.no_grad()
    def at(t: float) -> float:
        for p, start, v in zip(free, here, way, strict=True):
            p.copy_(start + t * v)
        return float(loss())

    apart = min(abs((at(h) - at(-h)) / (2 * h) - slope) for h in (1e-5, 1e-6))
    at(0.0)
    assert apart <= 1e-5 * (1 + abs(slope)), (
        f"{who}: expected the gradient of finite differences, found it {apart:.2g} apart"
    )
