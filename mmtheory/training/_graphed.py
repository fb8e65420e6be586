"""The closed-form pass as one launch on a GPU: small networks leave it waiting for their launches, which a CUDA graph takes at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import final

import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import FlatParameters

from ._passed import Passed

Work = Callable[[], Passed]
Record = Callable[[Work], tuple[Callable[[], object], Passed]]
WARM = 3
"""Passes before the one that is recorded: libraries choose their kernels and take their memory in the first."""


def on_gpu(flat: FlatParameters) -> None:
    """:raises ArgumentError: parameters elsewhere than on a CUDA device."""
    if flat.data.device.type != "cuda":
        raise ArgumentError(
            f"settings: expected a CUDA device for the graph kernel, found {flat.data.device}; take kernel='torch'"
        )


def cuda_graph(work: Work) -> tuple[Callable[[], object], Passed]:
    """What launches the work again, and where it leaves its results."""
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(WARM):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        passed = work()
    return graph.replay, passed


@final
class GraphedPlan:
    """A plan whose pass is recorded once; mini-batches are copied to the place that it was recorded over.

    :param plan: reads a mini-batch and parameters and writes its results, each where it always does.
    :param batch: the first mini-batch.
    """

    def __init__(self, plan: Callable[[Batch], Passed], batch: Batch, record: Record = cuda_graph) -> None:
        self.held = Batch({m: v.clone() for m, v in batch.x.items()}, batch.y.clone())
        self.replay, self.passed = record(lambda: plan(self.held))

    def __call__(self, batch: Batch) -> Passed:
        for m, place in self.held.x.items():
            place.copy_(batch.x[m])
        self.held.y.copy_(batch.y)
        self.replay()
        return replace(self.passed, features=dict(self.passed.features), loss=self.passed.loss.clone())
