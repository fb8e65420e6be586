"""Mini-batches from inputs that stay on the host, memory-mapped or not: gathered and copied while the one before is computed with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch

DEPTH = 2
"""Mini-batches under way beside the one in use."""


@final
class Ahead:
    """The feed of a trainer whose inputs do not fit on its device.

    A thread gathers rows into pinned memory and copies them on a stream of its own; the computation waits for a copy's event, not for
    the host. Where the device is the host there is nothing to pin or to copy, and the mini-batches are the same.

    :param data: [n, …] on the host.
    """

    def __init__(self, data: Batch, device: str | torch.device) -> None:
        self.device = torch.device(device)
        self.x, self.y, self.present = data.x, data.y.cpu(), {m: v.cpu() for m, v in data.present.items()}
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def batches(self, order: Tensor, size: int, *, drop_last: bool = False) -> Iterator[Batch]:
        """The samples ``order`` [n_epoch] names, ``size`` at a time."""
        order = order.cpu()
        n = order.shape[-1]
        starts = iter(range(0, n - n % size if drop_last else n, size))
        with ThreadPoolExecutor(1) as thread:
            waiting: deque[Future[tuple[Batch, torch.cuda.Event | None]]] = deque()

            def send() -> None:
                start = next(starts, None)
                if start is not None:
                    waiting.append(thread.submit(self._sent, order[start : start + size]))

            for _ in range(DEPTH):
                send()
            while waiting:
                batch, copied = waiting.popleft().result()
                send()
                yield self._arrived(batch, copied)

    def _sent(self, index: Tensor) -> tuple[Batch, torch.cuda.Event | None]:
        """A mini-batch on its way, and what tells that it is there."""
        if self.stream is None:
            return self._gathered(index, pinned=False), None
        with torch.cuda.stream(self.stream):  # whose device is then this thread's: the first one until somebody says so
            staged = self._gathered(index, pinned=True)
            x, present = (
                {m: v.to(self.device, non_blocking=True) for m, v in parts.items()}
                for parts in (staged.x, staged.present)
            )
            moved = Batch(x, staged.y.to(self.device, non_blocking=True), present)
            copied = torch.cuda.Event()
            copied.record(self.stream)
            return moved, copied

    def _gathered(self, index: Tensor, *, pinned: bool) -> Batch:
        def pick(part: Tensor) -> Tensor:
            out = torch.empty((len(index), *part.shape[1:]), dtype=part.dtype, pin_memory=pinned)
            return torch.index_select(part, 0, index, out=out)

        return Batch(
            {m: pick(v) for m, v in self.x.items()}, pick(self.y), {m: pick(v) for m, v in self.present.items()}
        )

    def _arrived(self, batch: Batch, copied: torch.cuda.Event | None) -> Batch:
        """The mini-batch, for the stream that computes: its memory is not given away before that stream is done with it."""
        if copied is not None:
            here = torch.cuda.current_stream(self.device)
            here.wait_event(copied)
            for part in (*batch.x.values(), *batch.present.values(), batch.y):
                part.record_stream(here)
        return batch


def stays(sizes: int, device: str) -> bool:
    """Whether so many bytes are more than half of what is free on a device."""
    if not device.startswith("cuda"):
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sizes > free / 2
