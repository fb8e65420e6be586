"""Several processes, one model each, by plain torch.distributed.

Every process takes its share of each mini-batch, and the matrix of gradients by loss is averaged by one all-reduce before anything
non-linear is done with it. There is no wrapper around the model: gradients of single losses taken through one are silently not
synchronised.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, distributed, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Card, Gradients, Joint, Method, MMPareto, Phase, Step, Uniform, View
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

KINDS = (Joint, Uniform, MMPareto)
"""Methods that see nothing of a batch but its gradients: statistics of a share of the batch would differ between processes."""


@dataclass(frozen=True)
class Crew:
    """Which of how many processes this is; one alone by default."""

    rank: int = 0
    size: int = 1

    def of(self, method: Method) -> Method:
        """The method, reduced over the crew."""
        return method if self.size == 1 else Sharded(method, self)

    def share(self, batch_size: int) -> int:
        """Samples of a mini-batch that each process takes.

        :raises ArgumentError: a batch size that the processes cannot share alike.
        """
        if batch_size % self.size:
            raise ArgumentError(
                f"train: expected a batch size that {self.size} processes can share, found {batch_size}"
            )
        return batch_size // self.size


ALONE = Crew()


@contextmanager
def crew(device: str) -> Generator[Crew, None, None]:
    """The processes that ``torchrun`` started, joined; this one alone where it did not."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Crew(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()


@final
class Sharded(Method):
    """Another method over the processes of a crew.

    Each process gets every ``size``-th sample of the epoch's order, so that its k-th mini-batch is its share of the k-th mini-batch of one
    process; the samples of an epoch that do not divide are left out. Gradients are averaged by row, in one matrix, and then handed on.

    :raises ArgumentError: a method that looks at more of a batch than its gradients.
    """

    card: ClassVar[Card] = Card(
        "sharded", "plain data parallelism", "Averages gradients by loss over processes.", "paper"
    )

    def __init__(self, inner: Method, crew: Crew) -> None:
        if not isinstance(inner, KINDS):
            names = ", ".join(kind.card.name for kind in KINDS)
            raise ArgumentError(
                f"train: expected a method among {names} for several processes, found {inner.card.name}, whose statistics of a batch are not reduced"
            )
        self.inner, self.crew = inner, crew

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.inner.bind(model, draws)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return self.inner.auxiliary(model, draws)

    def on_epoch(self, view: View) -> None:
        self.inner.on_epoch(view)
        order = view.order
        whole = order.shape[-1] - order.shape[-1] % self.crew.size
        view.set_order(order[..., :whole][..., self.crew.rank :: self.crew.size])

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return self.inner.phases(epoch, index)

    def around(self, step: Step) -> AbstractContextManager[None]:
        return self.inner.around(step)

    def on_features(self, step: Step) -> None:
        self.inner.on_features(step)

    def output(self, step: Step) -> Tensor:
        return self.inner.output(step)

    def losses(self, step: Step) -> dict[str, Tensor]:
        return self.inner.losses(step)

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        matrix = torch.stack(list(gradients.rows.values()))
        distributed.all_reduce(matrix)
        matrix /= self.crew.size
        rows = dict(zip(gradients.rows, matrix.unbind(), strict=True))
        return self.inner.on_gradients(step, Gradients(gradients.flat, rows, gradients.reached))

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        self.inner.on_update(step, before, flat)

    def after_step(self, step: Step) -> None:
        self.inner.after_step(step)

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        return self.inner.predict(model, auxiliary, batch)

    def state_dict(self) -> dict[str, Tensor]:
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.inner.load_state_dict(state)
