"""What is measured of a trained model: accuracy, macro-F1, calibration, missing modalities."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.diagnose import hits
from mmtheory.info import subsets

BINS = 15


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Share of right answers. Shape: [*batch, n, classes], [*batch, n] to [*batch].

    >>> accuracy(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])).item()
    0.5
    """
    return hits(logits, y).mean(-1)


def macro_f1(logits: Tensor, y: Tensor) -> Tensor:
    r"""Mean over the classes that occur or are predicted of 2 TP/(2 TP + FP + FN). Shape: as ``accuracy``.

    >>> macro_f1(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])).item()
    1.0
    """
    classes = torch.arange(logits.shape[-1], device=y.device)
    told = logits.argmax(-1).unsqueeze(-1) == classes
    true = y.unsqueeze(-1) == classes
    hits = (told & true).sum(-2).double()
    either = (told.sum(-2) + true.sum(-2)).double()
    counted = either > 0
    return (2 * hits / either.clamp(min=1)).sum(-1) / counted.sum(-1)


def negative_log_likelihood(logits: Tensor, y: Tensor) -> Tensor:
    """Mean of −ln p(y), nat. Shape: as ``accuracy``."""
    return -logits.double().log_softmax(-1).gather(-1, y.unsqueeze(-1)).squeeze(-1).mean(-1)


def brier(logits: Tensor, y: Tensor) -> Tensor:
    """Mean squared distance of the predicted distribution from the label's corner, between 0 and 2. Shape: as ``accuracy``."""
    p = logits.double().softmax(-1)
    corner = torch.nn.functional.one_hot(y, logits.shape[-1])
    return (p - corner).square().sum(-1).mean(-1)


def calibration_error(logits: Tensor, y: Tensor) -> Tensor:
    r"""Expected calibration error over 15 equal bins of the confidence. Shape: as ``accuracy``.

    .. math:: \sum_b \frac{n_b}{n}\,|\mathrm{acc}_b - \mathrm{conf}_b|

    >>> calibration_error(torch.tensor([[0.0, 0.0]] * 2), torch.tensor([0, 1])).item()
    0.0
    """
    confidence, told = logits.double().softmax(-1).max(-1)
    which = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gap = (told == y).double() - confidence
    bins = gap.new_zeros(*gap.shape[:-1], BINS).scatter_add(-1, which, gap)
    return bins.abs().sum(-1) / y.shape[-1]


@final
@dataclass(frozen=True)
class Metric:
    """A function of logits and labels, and the least and the most that it can be."""

    of: Callable[[Tensor, Tensor], Tensor]
    least: float = 0.0
    most: float = 1.0

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Its value. Shape: as ``accuracy``."""
        return self.of(logits, y)

    def cut(self, value: float) -> float:
        """The value itself, or the nearest that can be."""
        return min(max(value, self.least), self.most)


METRICS: Mapping[str, Metric] = {
    "accuracy": Metric(accuracy),
    "macro_f1": Metric(macro_f1),
    "nll": Metric(negative_log_likelihood, most=math.inf),
    "brier": Metric(brier, most=2.0),
    "ece": Metric(calibration_error),
}


def without(batch: Batch, heard: frozenset[str]) -> Batch:
    """The batch with every other modality marked as absent."""
    nobody = torch.zeros_like(batch.y, dtype=torch.bool)
    absent = {m: nobody for m in batch.modalities if m not in heard}
    return replace(batch, present={**batch.present, **absent})


def missing_modalities(predict: Callable[[Batch], Tensor], batch: Batch) -> dict[frozenset[str], Tensor]:
    """Accuracy had only these modalities been there, for every subset; the empty one is a guess without looking."""
    every = (frozenset[str](), *subsets(batch.modalities))
    return {s: accuracy(predict(without(batch, s)), batch.y) for s in every}
