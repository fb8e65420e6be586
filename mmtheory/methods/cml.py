"""CML: penalise a prediction that grows more confident when a modality is taken away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.info import subsets

from ._contribution import coalition, stand_ins
from ._method import Card, Method, Step, Strength, per_replicate, required
from ._strengths import off, ranged


@final
class CML(Method):
    r"""Calibrated multimodal learning.

    .. math:: L = \mathrm{CE}(o, y) + \lambda \sum_{\emptyset \ne T \subset S,\; |S \setminus T| = 1} \frac1n \sum_i
        \max\big(0, \mathrm{Conf}(x_T) - \mathrm{Conf}(x_S)\big)

    Conf is the largest predicted probability, absent modalities being stood in for by the model's policy. The penalty is zero exactly
    where confidence never falls as modalities join; a chain of such pairs implies it for all nested pairs. It asks for order, not for
    truth: a confident mistake costs nothing.

    :param lam: λ, at least 0; 0 is joint training bit for bit.

    Source: Ma et al. 2023 (ICML).
    """

    card: ClassVar[Card] = Card(
        name="cml",
        source="Ma et al. 2023 (ICML)",
        summary="Adds a hinge on confidence that rises when a modality is removed.",
        fidelity="paper",
        cost="1F + 1B and 2^M - 2 forwards and backwards of the fusion",
        neutral="lam = 0",
        differences=(
            "all pairs that differ by one modality are used; which of them the released code uses at M > 2 was not verified",
        ),
    )

    def __init__(self, lam: Strength = 1.0) -> None:
        self.lam = ranged("cml: lam", lam)

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        if off(self.lam):
            return losses
        everybody = frozenset(step.features)
        blank = stand_ins(step.model, step.features, "policy")
        confidence = {everybody: confidences(required(step.logits))}
        for heard in subsets(step.features):
            if heard and heard != everybody:
                confidence[heard] = confidences(coalition(step.model, step.features, heard, blank))
        total = losses["total"]
        return {**losses, "total": total + per_replicate(self.lam, total) * disorder(confidence)}

    def neutral(self) -> Method:
        return CML(0.0)


def confidences(logits: Tensor) -> Tensor:
    """The largest probability of each sample, [*batch, n]."""
    return logits.softmax(-1).amax(-1)


def disorder(confidence: Mapping[frozenset[str], Tensor]) -> Tensor:
    """By how much confidence falls as one modality joins, summed over pairs and averaged over samples, [*batch]; 0 iff it never does.

    >>> one, both = torch.tensor([0.9, 0.4]), torch.tensor([0.7, 0.8])
    >>> round(float(disorder({frozenset("a"): one, frozenset("ab"): both})), 6)
    0.1
    """
    drops = [
        (small - confidence[more]).relu()
        for less, small in confidence.items()
        for more in confidence
        if less < more and len(more) == len(less) + 1
    ]
    return torch.stack(drops).sum(0).mean(-1)
