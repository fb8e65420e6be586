"""Several processes, one model each, by plain torch.distributed: every method, and the same result as in one process.

Each process encodes its share of a mini-batch. The features are gathered, differentiably, so that fusion, losses and whatever a method
makes of a batch see the whole of it in every process; and the matrix of gradients by loss is reduced once before anything non-linear is
done with it. There is no wrapper around the model: gradients of single losses taken through one are silently not synchronised.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast, final

import torch
from torch import Tensor, distributed, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.methods import Card, Gradients, Method, Phase, Step, View
from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws


@dataclass(frozen=True)
class Crew:
    """Which of how many processes this is; one alone by default."""

    rank: int = 0
    size: int = 1

    def of(self, method: Method) -> Method:
        """The method, over the crew's mini-batches."""
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

    def together(self, part: Tensor) -> Tensor:
        """The whole mini-batch [n, …] in its order from every process's share [n/size, …] of it; differentiable."""
        if part.dtype == torch.bool:
            return self.together(part.to(torch.uint8)).bool()
        return cast("Tensor", _Together.apply(part, self))

    def normalised(self, model: MultimodalModel) -> MultimodalModel:
        """The model with batch norms that take their statistics over all processes."""
        if self.size > 1:
            for module in model.modules():
                if type(module) in NORMS:
                    module.__class__ = SharedNorm
        return model


ALONE = Crew()


@contextmanager
def crew(device: str, meeting: str = "env://") -> Generator[Crew, None, None]:
    """The processes that ``torchrun`` started, joined; this one alone where it did not.

    :param meeting: where they find each other, as torch.distributed names it.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    rank = int(os.environ["RANK"])
    here = None
    if device.startswith("cuda"):
        here = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(here)
    distributed.init_process_group(
        "gloo" if here is None else "nccl", init_method=meeting, rank=rank, world_size=size, device_id=here
    )
    try:
        yield Crew(rank, size)
    finally:
        distributed.destroy_process_group()


class _Together(torch.autograd.Function):
    """Shares from all processes, in the order of the mini-batch: process r has its samples r, r + size, r + 2 size, …

    Every process computes the same losses of the whole, so that the share's cotangent is its part of the whole's: no communication.
    """

    @staticmethod
    def forward(ctx: Any, part: Tensor, crew: Crew) -> Tensor:  # noqa: ANN401 (autograd's own signature)
        ctx.crew = crew
        shares = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(crew.size)]
        distributed.all_gather(shares, part.contiguous())
        return torch.stack(shares, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (autograd's own signature)
        crew: Crew = ctx.crew
        whole: Tensor = grad_outputs[0]
        return whole.unflatten(0, (-1, crew.size))[:, crew.rank], None


class _Summed(torch.autograd.Function):
    """The sum over processes of something each computed from its own share; so is its cotangent."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:  # noqa: ANN401 (autograd's own signature)
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:  # noqa: ANN401  # pyright: ignore[reportIncompatibleMethodOverride] (autograd's own signature)
        total = grad_outputs[0].clone()
        distributed.all_reduce(total)
        return total


class SharedNorm(nn.BatchNorm2d):
    """Batch norm over the samples of all processes, on any device (torch's own needs a GPU); alone it is plain batch norm."""

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch's own name)
        """Any number of axes."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch's own name)
        if not self.training:
            return super().forward(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        over, shape = [0, *range(2, x.ndim)], (1, -1, *(1,) * (x.ndim - 2))
        count = x.numel() // x.shape[1] * distributed.get_world_size()
        mean = cast("Tensor", _Summed.apply(x.sum(over))) / count
        centred = x - mean.view(shape)
        variance = cast("Tensor", _Summed.apply((centred**2).sum(over))) / count
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(input.dtype)


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class _Inputs(Mapping[str, Tensor]):
    """The inputs of a whole mini-batch, gathered when somebody looks at them: most methods look at features alone."""

    def __init__(self, shares: Mapping[str, Tensor], crew: Crew) -> None:
        self.shares, self.crew = shares, crew
        self.whole: dict[str, Tensor] = {}

    def __getitem__(self, modality: str) -> Tensor:
        if modality not in self.whole:
            self.whole[modality] = self.crew.together(self.shares[modality])
        return self.whole[modality]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shares)

    def __len__(self) -> int:
        return len(self.shares)


@final
class _Whole(Batch):
    """A mini-batch that is there by its labels; its parts come from batches that were checked."""

    def __post_init__(self) -> None:
        """Nothing to look at: that would gather the inputs."""


class _SharedView:
    """What a method sees before an epoch, whose trainings of copies are shared out too."""

    def __init__(self, view: View, crew: Crew) -> None:
        self._view, self._crew = view, crew
        self.epoch, self.model, self.auxiliary = view.epoch, view.model, view.auxiliary
        self.train, self.validation, self.draws = view.train, view.validation, view.draws

    @property
    def order(self) -> Tensor:
        return self._view.order

    def set_order(self, index: Tensor) -> None:
        self._view.set_order(index)

    def fit(self, method: Method, epochs: int | None = None, *, continued: bool = False) -> MultimodalModel:
        return self._view.fit(Sharded(method, self._crew), epochs, continued=continued)


@final
class Sharded(Method):
    """Another method over the processes of a crew.

    Each process gets every ``size``-th sample of the epoch's order, so that its k-th mini-batch is its share of the k-th mini-batch of one
    process; the samples of an epoch that do not divide are left out. An encoder's gradient is the sum of what the shares give; everything
    behind the features was computed from the whole mini-batch in every process, and is averaged so that all hold the same bits.
    """

    card: ClassVar[Card] = Card("sharded", "plain data parallelism", "Another method over several processes.", "paper")

    def __init__(self, inner: Method, crew: Crew) -> None:
        self.inner, self.crew = inner, crew
        vars(self).update(needs=inner.needs, card=inner.card, separate=inner.separate)
        self._scale: tuple[FlatParameters, Tensor] | None = None

    def remodel(self, model: MultimodalModel, draws: Draws) -> MultimodalModel:
        return self.inner.remodel(model, draws)

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.inner.bind(model, draws)

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        return self.inner.auxiliary(model, draws)

    def on_epoch(self, view: View) -> None:
        self.inner.on_epoch(_SharedView(view, self.crew))
        order = view.order
        whole = order.shape[-1] - order.shape[-1] % self.crew.size
        view.set_order(order[..., :whole][..., self.crew.rank :: self.crew.size])

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return self.inner.phases(epoch, index)

    def around(self, step: Step) -> AbstractContextManager[None]:
        return self.inner.around(step)

    def on_features(self, step: Step) -> None:
        names = list(step.features)
        every = self.crew.together(torch.cat([step.features[m] for m in names], -1))
        widths = [step.features[m].shape[-1] for m in names]
        step.features = dict(zip(names, every.split(widths, -1), strict=True))
        part, step.start = step.batch, step.start * self.crew.size
        present = {m: self.crew.together(v) for m, v in part.present.items()}
        step.batch = _Whole(_Inputs(part.x, self.crew), self.crew.together(part.y), present)
        self.inner.on_features(step)

    def output(self, step: Step) -> Tensor:
        return self.inner.output(step)

    def losses(self, step: Step) -> dict[str, Tensor]:
        return self.inner.losses(step)

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        matrix = torch.stack(list(gradients.rows.values()))
        distributed.all_reduce(matrix)
        matrix *= self._shares(step.model, gradients.flat)
        rows = dict(zip(gradients.rows, matrix.unbind(), strict=True))
        return self.inner.on_gradients(step, Gradients(gradients.flat, rows, gradients.reached))

    def _shares(self, model: MultimodalModel, flat: FlatParameters) -> Tensor:
        """What the sum over processes is multiplied by, [P]: 1 for what lies before the gathering, 1/size for what lies behind."""
        if self._scale is None or self._scale[0] is not flat:
            before = {id(p) for p in model.encoders.parameters()}
            scale = flat.data.new_full((flat.data.shape[-1],), 1 / self.crew.size)
            for p, span in zip(flat.parameters, flat.spans, strict=True):
                if id(p) in before:
                    scale[span] = 1
            self._scale = flat, scale
        return self._scale[1]

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
