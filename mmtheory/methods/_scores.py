"""Scores and discrepancy ratios: how far ahead each modality is, and the coefficients that methods make of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import NARROW

from ._losses import cross_entropy
from ._method import Strength, per_replicate

Reference = Literal["harmonic", "mean", "median"]


def label_scores(logits: Mapping[str, Tensor], y: Tensor) -> dict[str, Tensor]:
    """Each modality's summed probability of the true labels, S^m = Σ_i softmax(f^m_i)_{y_i}. Shape: [*batch]."""
    return {m: (-cross_entropy(f.detach(), y)).exp().sum(-1) for m, f in logits.items()}


def probabilities(logits: Tensor) -> Tensor:
    """Softmax over the last axis; few classes are taken along samples, as in ``cross_entropy``.

    >>> probabilities(torch.zeros(1, 2)).tolist()
    [[0.5, 0.5]]
    """
    return logits.mT.softmax(-2).mT if logits.shape[-1] < NARROW else logits.softmax(-1)


def leads(scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    r"""Each modality's score minus the mean of the others', [*batch].

    .. math:: d_m = s_m - \frac{1}{M-1}\sum_{j \ne m} s_j

    Their sum is zero; at M = 2 they are opposite.

    >>> {m: float(v) for m, v in leads({"a": torch.tensor(3.0), "b": torch.tensor(1.0)}).items()}
    {'a': 2.0, 'b': -2.0}
    """
    total = torch.stack(list(scores.values())).sum(0)
    return {m: s - (total - s) / (len(scores) - 1) for m, s in scores.items()}


def discrepancy(scores: Mapping[str, Tensor], *, reference: Reference = "harmonic") -> dict[str, Tensor]:
    r"""How far each modality is ahead of the others.

    .. math:: \rho^m = \frac{1}{M-1} \sum_{j \ne m} S^m / S^j

    With the paper's harmonic reference most of three or more modalities are "ahead" at once (all but the weakest, usually); ``mean``
    and ``median`` compare with the mean or median of the others instead. At M = 2 the three agree.

    Shape: each [*batch].

    Source: Wei et al. 2024 (code); M = 2 is Peng et al. 2022.

    >>> {m: float(r) for m, r in discrepancy({"a": torch.tensor(4.0), "b": torch.tensor(2.0)}).items()}
    {'a': 2.0, 'b': 0.5}
    """
    if len(scores) < 2:
        raise ArgumentError(f"discrepancy: expected at least two modalities, found {sorted(scores)}")
    ratios: dict[str, Tensor] = {}
    for m, s in scores.items():
        others = torch.stack([v for j, v in scores.items() if j != m])
        if reference == "harmonic":
            ratios[m] = (s / others).mean(0)
        else:
            ratios[m] = s / (others.mean(0) if reference == "mean" else others.quantile(0.5, dim=0))
    return ratios


def referenced(reference: str) -> Reference:
    """The reference itself, if it is one.

    :raises ArgumentError: an unknown one.

    >>> referenced("mean")
    'mean'
    """
    for known in get_args(Reference):
        if reference == known:
            return known
    raise ArgumentError(f"reference: expected harmonic, mean or median, found {reference!r}")


def ogm_coefficient(ratio: Tensor, alpha: Strength, *, form: Literal["cvpr", "journal"]) -> Tensor:
    r"""The factor on a modality's gradient: 1 unless it is ahead.

    .. math:: k = 1 - \tanh(\alpha\rho) \;\text{(cvpr)} \quad\text{or}\quad k = 1 - \alpha\tanh(\rho - 1) \;\text{(journal)}, \qquad \rho > 1

    The CVPR form jumps from 1 to 1 − tanh α at ρ = 1; the journal form is continuous there and never below 1 − α. Both are 1 at
    alpha = 0.

    Source: Peng et al. 2022 (code); Wei et al. 2024 (secondary).

    >>> round(float(ogm_coefficient(torch.tensor(2.0), 0.1, form="cvpr")), 4)
    0.8026
    """
    strength = per_replicate(alpha, ratio)
    k = 1 - (torch.tanh(strength * ratio) if form == "cvpr" else strength * torch.tanh(ratio - 1))
    return torch.where(ratio > 1, k, torch.ones_like(ratio))
