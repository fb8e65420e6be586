"""UME: average the predictions of models that were trained one modality at a time, the fusion that trains nothing."""

from __future__ import annotations

from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel

from ._late import late_average
from ._method import Card
from .unimodal import Unimodal

Average = Literal["logits", "probabilities"]


@final
class UME(Unimodal):
    r"""Unimodal ensemble.

    .. math:: o = \frac1M \sum_m f^m

    Modalities that are absent from a sample are left out of its mean; a sample without any gets zero logits.

    :param average: mean of the ``logits``, or the logarithm of the mean of the ``probabilities``.

    Source: Du et al. 2023 (ICML).
    """

    card: ClassVar[Card] = Card(
        name="ume",
        source="Du et al. 2023 (ICML)",
        summary="Averages the predictions of independently trained unimodal classifiers.",
        fidelity="paper",
        cost="1F + 1B of the encoders, M linear heads, no fusion",
        differences=("the unimodal models are trained side by side in one run instead of one after the other",),
    )

    def __init__(self, *, average: Average = "logits") -> None:
        if average not in {"logits", "probabilities"}:
            raise ArgumentError(f"ume: expected average logits or probabilities, found {average!r}")
        super().__init__()
        self.average: Average = average
        if average == "probabilities":
            vars(self)["why_classes"] = "it averages probabilities (average = 'logits' does not)"

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        logits = self.unimodal_logits(model, auxiliary, batch)
        if self.average == "logits":
            return late_average(logits, batch.present)
        mean = late_average({m: f.softmax(-1) for m, f in logits.items()}, batch.present)
        return mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
