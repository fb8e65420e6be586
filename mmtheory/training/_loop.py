"""The loop: the only place that calls backward and the only place that steps an optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Gradients, Joint, Method, Phase, Step, Strength
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws, Stream

from ._optimisers import Optimiser, optimiser

Build = Callable[[Draws], MultimodalModel]


@dataclass(frozen=True)
class Settings:
    """What every method shares in a fair comparison.

    :param batch_size: samples a step; the last, smaller batch of an epoch is used too unless ``drop_last``.
    :param lr: learning rate, a number or one a replicate.
    :param schedule: epoch → factor on the learning rate.
    :param clip: largest norm of a replicate's whole gradient; inf for no clipping.
    """

    epochs: int = 20
    batch_size: int = 64
    optimiser: str = "sgd"
    lr: Strength = 0.02
    weight_decay: Strength = 1e-4
    momentum: float = 0.9
    schedule: Callable[[int], float] = field(default=lambda _epoch: 1.0)
    clip: float = math.inf
    drop_last: bool = False

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or not self.clip > 0:
            raise ArgumentError(
                f"settings: expected epochs >= 0, batch_size >= 1, clip > 0, found {self.epochs}, {self.batch_size}, {self.clip}"
            )


@final
class Trainer:
    """Trains every replicate of a model at once, by one method.

    Replicate r's initialisation, sample order and noise come from ``stream.child(r)`` alone. A replicate whose loss stops being finite
    is frozen where it was, marked in ``alive``, and the others go on.

    Shape: training data [*batch, n, …] (one data set a replicate) or [n, …] (one for all).

    :param build: makes the model from the draws of the stream's ``init`` child.
    :param replicates: which replicates; None for one plain model with batch shape ().
    """

    def __init__(
        self,
        build: Build,
        method: Method,
        data: Batch,
        *,
        settings: Settings,
        stream: Stream,
        replicates: range | None = None,
        validation: Batch | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.build, self.method, self.settings = build, method, settings
        self.stream, self.replicates, self.device = stream, replicates, torch.device(device)
        self.batch_shape = () if replicates is None else (len(replicates),)
        self.train_data, self.validation = data, validation
        if "validation" in method.needs and validation is None:
            raise ArgumentError(f"{method.card.name}: expected a validation split, found none")
        self.model = build(self.draws("init")).to(self.device)
        self.auxiliary = nn.ModuleDict()
        for owner, module in method.auxiliary(self.model, self.draws("auxiliary")).items():
            self.auxiliary[owner.replace(".", "_")] = module.to(self.device)
        owned = {o: tuple(self.model.owned(o)) for o in self.model.owners}
        owned |= {o: tuple(module.parameters()) for o, module in self.auxiliary.items()}
        self.flat = FlatParameters({o: ps for o, ps in owned.items() if ps}, self.batch_shape)
        self.optimiser: Optimiser = optimiser(
            settings.optimiser,
            self.flat.data,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
        )
        self.alive = torch.ones(self.batch_shape, dtype=torch.bool, device=self.device)
        self.epoch = 0
        method.bind(self.model, self.draws("method"))

    def draws(self, *names: str | int) -> Draws:
        """Named random tensors of each replicate, under these names."""
        if self.replicates is None:
            return Draws((self.stream.child(*names),), (), self.device)
        return Draws(tuple(self.stream.child(r, *names) for r in self.replicates), self.batch_shape, self.device)

    def run(self, epochs: int | None = None) -> Trainer:
        """Train for so many more epochs (None: up to the settings' number)."""
        last = self.settings.epochs if epochs is None else self.epoch + epochs
        while self.epoch < last:
            self._epoch()
            self.epoch += 1
        return self

    @torch.no_grad()
    def start_from(self, other: Trainer) -> None:
        """Take the parameters of all owners that both have, the model's buffers and the epoch; optimiser state stays fresh."""
        for owner, columns in self.flat.columns.items():
            if owner in other.flat.columns:
                self.flat.data[..., columns].copy_(other.flat.data[..., other.flat.columns[owner]])
        for mine, theirs in zip(self.model.buffers(), other.model.buffers(), strict=True):
            mine.copy_(theirs)
        self.epoch = other.epoch

    def _epoch(self) -> None:
        view = EpochView(self)
        self.method.on_epoch(view)
        order = view.order if view.order is not None else self._permutation()
        n, size = order.shape[-1], self.settings.batch_size
        stops = range(size, n + 1, size) if self.settings.drop_last else range(size, n + size, size)
        for index, stop in enumerate(stops):
            batch = gather(self.train_data, order[..., stop - size : min(stop, n)])
            for number, phase in enumerate(self.method.phases(self.epoch, index)):
                self._pass(batch, phase, index, number, stop - size)

    def _permutation(self) -> Tensor:
        """The order of the samples in this epoch, [*batch, n]."""
        n = self.train_data.n
        return self.draws("order", self.epoch).fill("permutation", (n,), lambda g, s: g.permutation(s[0]))

    def _pass(self, batch: Batch, phase: Phase, index: int, number: int, start: int) -> None:
        draws = self.draws("step", self.epoch, index, number)
        step = Step(self.model, self.auxiliary, batch, phase, self.epoch, index, draws, start=start)
        with self.method.around(step):
            step.features = self.model.encode(batch.x, phase.hear)
            if phase.move != ():
                self.model.observe(step.features, batch.present)
            self.method.on_features(step)
            step.logits = self.method.output(step)
            losses = self.method.losses(step)
            gradients = self._rows(losses, phase.rows)
            with torch.no_grad():
                total = self.method.on_gradients(step, gradients)
        if phase.move == ():
            return
        with torch.no_grad():
            finite = torch.stack([losses[row].detach() for row in phase.rows]).isfinite().all(0)
            self.alive &= finite
            before = self.flat.data.clone() if "update" in self.method.needs else None
            self._move(total, phase, gradients)
            if before is not None:
                self.method.on_update(step, before, self.flat)
            self.method.after_step(step)

    def _rows(self, losses: Mapping[str, Tensor], rows: Sequence[str]) -> Gradients:
        """One backward a row over all parameters; owners that a row does not reach are known structurally, not by a zero."""
        if missing := [row for row in rows if row not in losses]:
            raise ArgumentError(
                f"{self.method.card.name}: expected losses for rows {list(rows)}, found none for {missing}"
            )
        found: dict[str, Tensor] = {}
        reached: dict[str, frozenset[str]] = {}
        for k, row in enumerate(rows):
            parts = torch.autograd.grad(
                losses[row].sum(),
                self.flat.parameters,
                retain_graph=k < len(rows) - 1,
                create_graph="create_graph" in self.method.needs,
                allow_unused=True,
            )
            found[row], reached[row] = self.flat.gather(parts), self.flat.reached(parts)
        return Gradients(self.flat, found, reached)

    def _move(self, total: Tensor, phase: Phase, gradients: Gradients) -> None:
        if math.isfinite(self.settings.clip):
            norm = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
            total = total * (self.settings.clip / norm.clamp(min=self.settings.clip))
        total = torch.where(self.alive.unsqueeze(-1), total, torch.zeros((), dtype=total.dtype, device=total.device))
        everyone = frozenset[str]().union(*gradients.reached.values())
        owners = [o for o in self.flat.owners if o in (everyone if phase.move is None else phase.move)]
        factor = self.settings.schedule(self.epoch)
        for columns in adjacent([self.flat.columns[o] for o in owners]):
            self.optimiser.step(total, columns, factor)

    @torch.no_grad()
    def predict(self, data: Batch, *, size: int = 4096) -> Tensor:
        """The method's prediction on every sample exactly once, [*batch, n, classes]."""
        spread = spread_over(data, self.batch_shape)
        parts = [
            self.method.predict(self.model, self.auxiliary, spread.rows(slice(i, i + size)))
            for i in range(0, data.n, size)
        ]
        return torch.cat(parts, dim=-2)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as tensors: parameters, buffers, optimiser, method, clock, who is alive."""
        buffers = {f"buffer.{k}": v for k, v in self.model.named_buffers()}
        moved = {f"optimiser.{k}": v for k, v in self.optimiser.state_dict().items()}
        own = {f"method.{k}": v for k, v in self.method.state_dict().items()}
        clock = {"epoch": torch.tensor(self.epoch), "alive": self.alive}
        return {k: v.clone() for k, v in {"parameters": self.flat.data, **buffers, **moved, **own, **clock}.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state_dict`` gave.

        :raises ArgumentError: a state of another model, optimiser or method.
        """
        expected = set(self.state_dict())
        if set(state) != expected or state["parameters"].shape != self.flat.data.shape:
            raise ArgumentError(f"trainer: expected a state with {sorted(expected)}, found {sorted(state)}")
        self.flat.data.copy_(state["parameters"])
        for k, v in self.model.named_buffers():
            v.copy_(state[f"buffer.{k}"])
        self.optimiser.load_state_dict(_under("optimiser.", state))
        self.method.load_state_dict(_under("method.", state))
        self.epoch = int(state["epoch"])
        self.alive.copy_(state["alive"])


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


@final
class EpochView:
    """What a method sees before an epoch (``methods.View``)."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.epoch, self.model, self.auxiliary = trainer.epoch, trainer.model, trainer.auxiliary
        self.train = spread_over(trainer.train_data, trainer.batch_shape)
        seen = trainer.validation if "validation" in trainer.method.needs else None
        self.validation = None if seen is None else spread_over(seen, trainer.batch_shape)
        self.draws = trainer.draws("epoch", trainer.epoch)
        self.order: Tensor | None = None

    def set_order(self, index: Tensor) -> None:
        """The sample indices of this epoch, [*batch, n_epoch]."""
        self.order = index

    def fit(self, method: Method, epochs: int | None = None, *, continued: bool = False) -> MultimodalModel:
        """A copy of the model, untrained or as it is now, trained by another method (``methods.View``)."""
        t = self._trainer
        other = Trainer(
            t.build,
            method,
            t.train_data,
            settings=t.settings,
            stream=t.stream,
            replicates=t.replicates,
            device=t.device,
        )
        if continued:
            other.start_from(t)
        return other.run(epochs).model


def train(
    build: Build,
    data: Batch,
    *,
    stream: Stream,
    method: Method | None = None,
    settings: Settings | None = None,
    replicates: range | None = None,
    validation: Batch | None = None,
    device: str | torch.device = "cpu",
) -> Trainer:
    """A trainer that has run through its settings' epochs (method: joint; settings: the defaults)."""
    return Trainer(
        build, method or Joint(), data, settings=settings or Settings(), stream=stream, replicates=replicates,
        validation=validation, device=device,
    ).run()  # fmt: skip


def gather(data: Batch, index: Tensor) -> Batch:
    """The samples ``index`` [*batch, b] of a data set [*batch, n, …] or [n, …], by one gather a tensor."""
    shared = index.ndim > data.y.ndim
    n = data.n
    if index.ndim > 1 and not shared:
        offset = torch.arange(index[..., 0].numel(), device=index.device).view(*index.shape[:-1], 1) * n
        flat = (index + offset).reshape(-1)
    else:
        flat = index.reshape(-1)

    def pick(part: Tensor) -> Tensor:
        rest = part.shape[data.y.ndim :]
        return part.reshape(-1, *rest).index_select(0, flat).view(*index.shape, *rest)

    return Batch({m: pick(v) for m, v in data.x.items()}, pick(data.y), {m: pick(v) for m, v in data.present.items()})


def spread_over(data: Batch, batch_shape: Sequence[int]) -> Batch:
    """A data set with the replicate axes in front, without a copy."""
    if data.batch_shape == torch.Size(batch_shape):
        return data

    def wide(part: Tensor) -> Tensor:
        return part.expand(*batch_shape, *part.shape)

    return Batch({m: wide(v) for m, v in data.x.items()}, wide(data.y), {m: wide(v) for m, v in data.present.items()})


def adjacent(columns: Sequence[slice]) -> list[slice]:
    """Neighbouring column ranges joined, so that moving everybody is one step."""
    joined: list[slice] = []
    for c in columns:
        if joined and joined[-1].stop == c.start:
            joined[-1] = slice(joined[-1].start, c.stop)
        else:
            joined.append(c)
    return joined
