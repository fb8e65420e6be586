"""The loop: the only place that calls backward and the only place that steps an optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Gradients, Joint, Method, Phase, Step
from mmtheory.models import Dense, FlatParameters, MLPEncoder, MultimodalModel
from mmtheory.rng import Draws, Stream

from ._closed import ClosedForm
from ._draws import Blocks, Source, StepDraws
from ._epoch import EpochView
from ._feed import Feed, Feeding, placed, spread_over
from ._memory import LARGEST, keep_freed_memory, keep_large_memory
from ._optimisers import Optimiser, optimiser
from ._scales import Scales
from ._settings import Settings
from ._task import check_labels
from ._watch import Watch

Build = Callable[[Draws], MultimodalModel]
Reading = Callable[[MultimodalModel, nn.ModuleDict, Batch], Tensor]
"""What is read off a model, its auxiliary parts and some samples."""
ORDERED = 4096
"""Places of sample orders that are drawn at once: setting up a generator costs as much as shuffling a thousand of them."""


@final
class Trainer:
    """Trains every replicate of a model at once, by one method.

    Replicate r's initialisation, sample order and noise come from ``stream.child(r)`` alone. A replicate whose loss stops being finite
    is left where it was, marked in ``alive`` and reported by ``stopped``; the others go on as if it had never been there.

    Shape: training data [*batch, n, …] (one data set a replicate) or [n, …] (one for all).

    :param build: makes the model from the draws of the stream's ``init`` child.
    :param replicates: which replicates (a number may come twice: the same seed under two settings); None for one plain model with
        batch shape ().
    :param closed: plain passes of our own networks without autograd; the bits are the same, False is there to show it.
    :param host: inputs stay where they are, and encoders bring them over: whoever asks for it gives mini-batches by a ``feed`` of its own.
    """

    def __init__(
        self,
        build: Build,
        method: Method,
        data: Batch,
        *,
        settings: Settings,
        stream: Stream,
        replicates: Sequence[int] | None = None,
        validation: Batch | None = None,
        device: str | torch.device = "cpu",
        closed: bool = True,
        host: bool = False,
    ) -> None:
        keep_freed_memory()
        self.build, self.method, self.settings = build, method, settings
        self.stream, self.replicates, self.device = stream, replicates, torch.device(device)
        self.batch_shape = () if replicates is None else (len(replicates),)
        self.host = host
        self.train_data = placed(data, self.device, inputs=not host)
        self.validation = None if validation is None else placed(validation, self.device, inputs=not host)
        if "validation" in method.needs and validation is None:
            raise ArgumentError(f"{method.card.name}: expected a validation split, found none")
        self.feed: Feeding = Feed(self.train_data, self.batch_shape)
        self._source = Source(stream, replicates, self.device)
        self.blocks = Blocks(self._source)
        self.model = method.remodel(build(self.draws("init")), self.draws("remodel")).to(self.device)
        check_labels(self.train_data, self.model.fusion.classes, method, settings.loss)
        self.auxiliary = nn.ModuleDict()
        for owner, module in method.auxiliary(self.model, self.draws("auxiliary")).items():
            self.auxiliary[owner.replace(".", "_")] = module.to(self.device)
        for module in (*self.model.modules(), *self.auxiliary.modules()):
            if isinstance(module, (Dense, MLPEncoder)):
                module.twice = "create_graph" in method.needs
        owned = {o: tuple(self.model.owned(o)) for o in self.model.owners}
        owned |= {o: tuple(module.parameters()) for o, module in self.auxiliary.items()}
        self.flat = FlatParameters({o: ps for o, ps in owned.items() if ps}, self.batch_shape)
        if self.device.type == "cpu" and self.flat.data.nbytes > LARGEST:
            keep_large_memory()
        self.optimiser: Optimiser = optimiser(
            settings.optimiser,
            self.flat.data,
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            momentum=settings.momentum,
        )
        self.alive = torch.ones(self.batch_shape, dtype=torch.bool, device=self.device)
        self.last_epoch = torch.full(self.batch_shape, -1, device=self.device)
        self.epoch = 0
        self.watch: Watch | None = None
        self.scales: Scales | None = None
        self.starts_beside: Callable[[Trainer], None] | None = None
        self._orders: tuple[int, Tensor] | None = None
        self._ranges: dict[object, list[slice]] = {}
        method.bind(self.model, self.draws("method"))
        plain = closed and ClosedForm.serves(self.model, method)
        self.closed = ClosedForm(self.model, self.flat, settings.kernel) if plain else None

    def draws(self, *names: str | int) -> Draws:
        """Named random tensors of each replicate, under these names."""
        return self._source(*names)

    def run(self, epochs: int | None = None) -> Trainer:
        """Train for so many more epochs (None: up to the settings' number)."""
        last = self.settings.epochs if epochs is None else self.epoch + epochs
        while self.epoch < last:
            self._epoch()
            self.epoch += 1
        return self

    @property
    def stopped(self) -> dict[int, int]:
        """Place on the replicate axis (0 for one plain model) → epoch in which its loss was no longer finite."""
        epochs = self.last_epoch.reshape(-1).tolist()
        return {r: e for r, e in enumerate(epochs) if e >= 0}

    def beside(self, method: Method) -> Trainer:
        """An untrained trainer of another method: same initialisation, data, settings and sample orders."""
        other = Trainer(
            self.build, method, self.train_data, settings=self.settings, stream=self.stream, replicates=self.replicates,
            device=self.device, host=self.host,
        )  # fmt: skip
        if self.host:
            other.feed = self.feed
        if self.starts_beside is not None:
            self.starts_beside(other)
        return other

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
        order = view.order
        size, last = self.settings.batch_size, self.settings.drop_last
        for index, batch in enumerate(self.feed.batches(order, size, drop_last=last)):
            for number, phase in enumerate(self.method.phases(self.epoch, index)):
                self._pass(batch, phase, index, number)

    def permutation(self) -> Tensor:
        """The order of the samples in this epoch, [*batch, n]; several epochs' orders come from one generator."""
        n = self.train_data.n
        several = max(1, ORDERED // n)
        block, place = divmod(self.epoch, several)
        if self._orders is None or self._orders[0] != block:
            self._orders = block, self.draws("orders", block).fill("permutations", (several, n), _permutations)
        return self._orders[1][..., place, :]

    def _pass(self, batch: Batch, phase: Phase, index: int, number: int) -> None:
        draw = partial(StepDraws, self.blocks, self.batch_shape, self.device, self.epoch, index, number)
        start = index * self.settings.batch_size
        step = Step(self.model, self.auxiliary, batch, phase, self.epoch, index, draw, start=start)
        closed = self.closed if self.closed is not None and self.closed.takes(batch, phase) else None
        losses, gradients, total = self._graph_pass(step) if closed is None else self._closed_pass(step, closed)
        if self.watch is not None:
            self.watch(step, gradients, by_hand=closed is not None)
        if phase.move == ():
            return
        with torch.no_grad():
            before = self.flat.data.clone() if "update" in self.method.needs else None
            self._mark(losses)
            self._move(total, phase, gradients)
            if before is not None:
                self.method.on_update(step, before, self.flat)
                if not self._whole():
                    self.flat.data.copy_(torch.where(self.alive.unsqueeze(-1), self.flat.data, before))
            self.method.after_step(step)

    @torch.no_grad()
    def _closed_pass(self, step: Step, closed: ClosedForm) -> tuple[list[Tensor], Gradients, Tensor]:
        """A plain pass in closed form."""
        found = closed(step.batch)
        step.features, step.logits = found.features, found.logits
        if step.phase.move != ():
            self.model.observe(step.features, step.batch.present)
        gradients = Gradients(self.flat, {"total": found.gradient}, {"total": closed.reached})
        return [found.loss], gradients, self._changed(step, gradients)

    def _graph_pass(self, step: Step) -> tuple[list[Tensor], Gradients, Tensor]:
        """A pass through autograd's graph: whatever the method makes of it."""
        phase = step.phase
        with self.method.around(step):
            step.features = self.model.encode(step.batch.x, phase.hear)
            if phase.move != ():
                self.model.observe(step.features, step.batch.present)
            self.method.on_features(step)
            step.logits = self.method.output(step)
            losses = self.method.losses(step)
            gradients = self._rows(losses, phase.rows)
            with torch.no_grad():
                total = self._changed(step, gradients)
        # What a mask hides from the loss can still make its gradient infinite: 0 · ∞.
        found = [losses[row].detach() for row in phase.rows]
        touched = frozenset(phase.move or ()).union(*gradients.reached.values())
        return [*found, *(total[..., c].sum(-1) for c in self._columns(touched))], gradients, total

    def _changed(self, step: Step, gradients: Gradients) -> Tensor:
        change = partial(self.method.on_gradients, step, gradients)
        return change() if self.scales is None or step.phase.move == () else self.scales.around(gradients, change)

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

    def _mark(self, losses: Sequence[Tensor]) -> None:
        """Who from now on stays where they are."""
        total = losses[0] if len(losses) == 1 else torch.stack(list(losses)).sum(0)
        if self.device.type == "cpu" and math.isfinite(float(total.sum())):
            return
        finite = total.isfinite()
        fallen = self.alive & ~finite
        self.last_epoch.masked_fill_(fallen, self.epoch)
        self.alive &= finite

    def _whole(self) -> bool:
        """Whether nobody is known to have fallen; asking waits for the device, which is free on a CPU alone."""
        return self.device.type == "cpu" and bool(self.alive.all())

    def _move(self, total: Tensor, phase: Phase, gradients: Gradients) -> None:
        if math.isfinite(self.settings.clip):
            norm = torch.linalg.vector_norm(total, dim=-1, keepdim=True)
            total = total * (self.settings.clip / norm.clamp(min=self.settings.clip))
        whole = self._whole()
        factor = self.settings.schedule(self.epoch)
        moving = frozenset[str]().union(*gradients.reached.values()) if phase.move is None else frozenset(phase.move)
        for columns in self._columns(moving):
            self.optimiser.step(total, columns, factor, None if whole else self.alive)

    def _columns(self, owners: frozenset[str]) -> list[slice]:
        """The columns of these owners, neighbours as one range."""
        if owners not in self._ranges:
            self._ranges[owners] = adjacent([self.flat.columns[o] for o in self.flat.owners if o in owners])
        return self._ranges[owners]

    @torch.no_grad()
    def predict(self, data: Batch, *, size: int = 4096, by: Reading | None = None) -> Tensor:
        """The method's prediction on every sample exactly once, [*batch, n, classes]; or ``by``'s, [..., *batch, n, k]; fewer at once where memory ends."""
        spread = spread_over(placed(data, self.device, inputs=not self.host), self.batch_shape)
        read, rows = by or self.method.predict, (slice(i, i + size) for i in range(0, data.n, size))
        try:
            return torch.cat([read(self.model, self.auxiliary, spread.rows(r)) for r in rows], dim=-2)
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        return self.predict(data, size=size // 2, by=by)

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs, as tensors: parameters, buffers, optimiser, method, clock, who is alive.

        Generators have no state of their own: every draw is addressed by replicate, epoch and step.
        """
        buffers = {f"buffer.{k}": v for k, v in self.model.named_buffers()}
        moved = {f"optimiser.{k}": v for k, v in self.optimiser.state_dict().items()}
        own = {f"method.{k}": v for k, v in self.method.state_dict().items()}
        clock = {"epoch": torch.tensor(self.epoch), "alive": self.alive, "last_epoch": self.last_epoch}
        return {k: v.clone() for k, v in {"parameters": self.flat.data, **buffers, **moved, **own, **clock}.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state_dict`` gave.

        :raises ArgumentError: a state of another model, optimiser or method.
        """
        expected = {k for k in self.state_dict() if not k.startswith("method.")}
        found = {k for k in state if not k.startswith("method.")}
        if found != expected or state["parameters"].shape != self.flat.data.shape:
            raise ArgumentError(f"trainer: expected a state with {sorted(expected)}, found {sorted(found)}")
        self.flat.data.copy_(state["parameters"])
        for k, v in self.model.named_buffers():
            v.copy_(state[f"buffer.{k}"])
        self.optimiser.load_state_dict(_under("optimiser.", state))
        own = _under("method.", state)  # from wherever it was kept to where the method works
        self.method.load_state_dict({k: v.to(self.device) for k, v in own.items()})
        self.epoch = int(state["epoch"])
        self.alive.copy_(state["alive"])
        self.last_epoch.copy_(state["last_epoch"])


def _under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _permutations(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)


def train(
    build: Build,
    data: Batch,
    *,
    stream: Stream,
    method: Method | None = None,
    settings: Settings | None = None,
    replicates: Sequence[int] | None = None,
    validation: Batch | None = None,
    device: str | torch.device = "cpu",
) -> Trainer:
    """A trainer that has run through its settings' epochs (method: joint; settings: the defaults)."""
    return Trainer(
        build, method or Joint(), data, settings=settings or Settings(), stream=stream, replicates=replicates,
        validation=validation, device=device,
    ).run()  # fmt: skip


def adjacent(columns: Sequence[slice]) -> list[slice]:
    """Neighbouring column ranges joined, so that moving everybody is one step."""
    joined: list[slice] = []
    for c in columns:
        if joined and joined[-1].stop == c.start:
            joined[-1] = slice(joined[-1].start, c.stop)
        else:
            joined.append(c)
    return joined
