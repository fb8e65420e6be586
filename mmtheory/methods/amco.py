"""AMCo: mask the features of the modality that leads, the more often the further training has come."""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._contribution import Contributing, Contribution
from ._method import Card, Method, Step, Strength, per_replicate
from ._scores import label_scores
from ._strengths import off, ranged


@final
class AMCo(Contributing):
    r"""Adaptive mask co-optimisation, reconstructed.

    .. math:: q^m = p \sin\Big(\frac{\pi}{2} \min(1, \tfrac{e+1}{E})\Big) \;\text{if}\; S^m = \max_j S^j \text{ and } \sigma > \tau, \qquad
        z^m_i \leftarrow \delta^m_i z^m_i

    e is the epoch, S^m the batch's mean probability of the true labels by modality m alone and σ the standard deviation of the S over
    modalities. A sample that would lose every modality keeps them all. Kept features are not rescaled.

    :param p: largest mask probability, in [0, 1]; 0 is joint training bit for bit.
    :param ramp: E, epochs until it is reached, at least 1.
    :param threshold: τ, at least 0: smallest dispersion at which anybody is masked.

    Source: the text of "Adaptive Mask Co-Optimization for Modal Dependence" (ICASSP) was not available; sine schedule and dispersion
    from secondary sources, the rest derived here.
    """

    card: ClassVar[Card] = Card(
        name="amco",
        source="Adaptive Mask Co-Optimization for Modal Dependence (ICASSP; text not available)",
        summary="Masks the leading modality's features with a probability that follows a sine schedule.",
        fidelity="reconstruction",
        cost="1F + 1B, M head products, one random number a sample and modality",
        neutral="p = 0",
        differences=(
            "neither the original text nor code was read: a sine schedule, a dispersion of confidence and a mask on the dominant modality are "
            "all that secondary sources say; their combination here is ours",
        ),
    )
    why_classes: ClassVar[str] = "its scores are probabilities of the true label"

    def __init__(
        self, p: Strength = 0.5, *, ramp: int = 10, threshold: Strength = 0.0, contribution: Contribution | None = None
    ) -> None:
        if ramp < 1:
            raise ArgumentError(f"amco: expected ramp >= 1, found {ramp}")
        self.p, self.ramp = ranged("amco: p", p, 0, 1), ramp
        self.threshold, self.contribution = ranged("amco: threshold", threshold), contribution

    def probabilities(self, scores: dict[str, Tensor], epoch: int) -> dict[str, Tensor]:
        """Mask probability of each modality, [*batch], from mean label probabilities."""
        every = torch.stack([s.double() for s in scores.values()])
        lead = (every == every.amax(0)) & (every.std(0, correction=0) > per_replicate(self.threshold, every[0]))
        now = per_replicate(self.p, every[0]) * math.sin(math.pi / 2 * min(1.0, (epoch + 1) / self.ramp))
        return dict(zip(scores, lead * now, strict=True))

    def on_features(self, step: Step) -> None:
        if off(self.p):
            return
        with torch.no_grad():
            sums = label_scores(self.provider.logits(step.model, step.features), step.batch.y)
            q = self.probabilities({m: s / step.batch.n for m, s in sums.items()}, step.epoch)
            keep = {m: step.draws.uniform(f"mask {m}", step.batch.n) >= p.unsqueeze(-1) for m, p in q.items()}
            nobody = ~torch.stack(list(keep.values())).any(0)
        for m, z in step.features.items():
            step.features[m] = z * (keep[m] | nobody).unsqueeze(-1).to(z.dtype)

    def neutral(self) -> Method:
        return AMCo(0.0)
