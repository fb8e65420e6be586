"""What is measured of a trained model: accuracy, macro-F1, calibration, missing modalities, Shapley values, linear probes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.diagnose import hits
from mmtheory.info import subsets

BINS = 15
PROBE_STEPS, PROBE_RIDGE = 400, 1e-3


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


METRICS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "nll": negative_log_likelihood,
    "brier": brier,
    "ece": calibration_error,
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


def probe(train: Tensor, y: Tensor, test: Tensor, classes: int) -> Tensor:
    r"""Test logits of a multinomial logistic regression on frozen features, fitted by accelerated gradient descent.

    .. math:: \min_W \frac1n \sum_i \mathrm{CE}(W^\top x_i, y_i) + \frac\lambda2 \|W\|^2

    Features are standardised by the training part, λ = 1e-3; 400 steps of length 1/L, L = λ_max(XᵀX)/(2n) + λ.

    Shape: train [*batch, n, d], y [*batch, n], test [*batch, k, d] to [*batch, k, classes].

    Source: Nesterov 1983 for strongly convex functions; the bound ½ on the softmax's Hessian is Böhning's (known).
    """
    mean, std = train.double().mean(-2, keepdim=True), train.double().std(-2, keepdim=True) + 1e-6
    x, z = ((part.double() - mean) / std for part in (train, test))
    x, z = (torch.cat([part, part.new_ones(*part.shape[:-1], 1)], -1) for part in (x, z))
    target = torch.nn.functional.one_hot(y, classes).double()
    n = x.shape[-2]
    steep = torch.linalg.eigvalsh(x.mT @ x / n)[..., -1] / 2 + PROBE_RIDGE
    step = 1 / steep[..., None, None]
    root = (PROBE_RIDGE * step).sqrt()
    pull = (1 - root) / (1 + root)
    w = x.new_zeros(*x.shape[:-2], x.shape[-1], classes)
    ahead = w
    for _ in range(PROBE_STEPS):
        gradient = x.mT @ ((x @ ahead).softmax(-1) - target) / n + PROBE_RIDGE * ahead
        moved = ahead - step * gradient
        ahead = moved + pull * (moved - w)
        w = moved
    return z @ w
