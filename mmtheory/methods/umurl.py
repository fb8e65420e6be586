"""UmURL: one stream for every modality and for their mean, made consistent without labels, with a linear probe on what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, MultimodalModel
from mmtheory.models.consistency import umurl_loss
from mmtheory.rng import Draws

from ._late import late_average
from ._method import Card, Method, Step, required

STREAM, PROBE = "stream:shared", "probe:shared"


@final
class UmURL(Method):
    r"""Unified multimodal unsupervised representation learning.

    .. math:: e^m = E_m z^m, \quad h^m = g(e^m), \quad h^u = g\Big(\frac1M \sum_m e^m\Big), \quad
        c^m = P_m h^m, \quad c^{u,m} = P_m h^u

    The loss is that of ``umurl_loss`` on the codes c, and the cross-entropy of a linear probe on h^u. The labels reach the probe alone
    unless ``supervised``; then encoders learn from both.

    Modalities that are absent from a sample are left out of its mean, and their code is taken to be the fused one's part. A batch of
    one sample has no spread: it takes only the consistencies.

    :param agreement: weight of the consistencies; 0 leaves the regularisers.
    :param variance: weight of the variance hinge; 0 lets the codes collapse.
    :param covariance: weight of the covariance penalty; 0 lets dimensions repeat each other.
    :param width: width of embeddings, stream and codes.
    :param supervised: whether the probe's loss reaches the encoders.
    :raises ArgumentError: a weight below 0, or a width below 1.

    Source: Sun et al. 2023 (ACM MM), losses and weights (code).
    """

    card: ClassVar[Card] = Card(
        name="umurl",
        source="Sun et al. 2023 (ACM MM)",
        summary="Learns one consistent stream for each modality and their mean, with a linear probe for the labels.",
        fidelity="reconstruction",
        cost="1F + 1B of the encoders, M + 1 passes of a small shared stream, no fusion",
        differences=(
            "losses, their weights and early fusion by the mean of embeddings are the released ones; everything below is reconstruction",
            "the embedding is the model's encoder and a linear layer, the stream one dense layer with ReLU; the released stream is a pair of "
            "one-layer transformers over time and joints, with max-pooling and another linear layer after the mean",
            "projectors are linear of the stream's width; the released ones have three layers with batch normalisation up to width 4096",
            "all codes of a sample come from one and the same input; the released code augments four copies independently",
            "the probe is trained beside the stream, by the same optimiser, on features cut from the graph (supervised = True does not cut); "
            "the released one is trained on the frozen encoder afterwards",
            "statistics are those of the mini-batch; the released code gathers it from all devices",
        ),
    )

    def __init__(
        self,
        agreement: float = 5.0,
        *,
        variance: float = 5.0,
        covariance: float = 1.0,
        width: int = 32,
        supervised: bool = False,
    ) -> None:
        for name, value in (("agreement", agreement), ("variance", variance), ("covariance", covariance)):
            if not value >= 0:
                raise ArgumentError(f"umurl: expected {name} >= 0, found {value}")
        if width < 1:
            raise ArgumentError(f"umurl: expected width >= 1, found {width}")
        self.agreement, self.variance, self.covariance = agreement, variance, covariance
        self.width, self.supervised = width, supervised

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype = next(model.parameters()).dtype

        def layer(name: str, given: int, out: int) -> Dense:
            return Dense(given, out, draws=draws, name=name, dtype=dtype)

        parts: dict[str, nn.Module] = {}
        for m in model.modalities:
            parts[f"embed:{m}"] = layer(f"embed:{m}", model.width(m), self.width)
            parts[f"project:{m}"] = layer(f"project:{m}", self.width, self.width)
        parts[STREAM] = layer(STREAM, self.width, self.width)
        parts[PROBE] = layer(PROBE, self.width, model.fusion.classes)
        return parts

    def output(self, step: Step) -> Tensor:
        fused = self._fused(step.auxiliary, self._embedded(step), step.batch)
        return step.auxiliary[PROBE](fused if self.supervised else fused.detach())

    def losses(self, step: Step) -> dict[str, Tensor]:
        codes, fused = self.codes(step)
        probe = step.cross_entropy(required(step.logits))
        some = step.batch.n > 1
        if not some:
            codes, fused = ([c.expand(*c.shape[:-2], 2, -1) for c in many] for many in (codes, fused))
        own = umurl_loss(
            codes,
            fused,
            agreement=self.agreement,
            variance=self.variance if some else 0.0,
            covariance=self.covariance if some else 0.0,
        )
        return {"total": own + probe}

    def codes(self, step: Step) -> tuple[list[Tensor], list[Tensor]]:
        """The code of each modality heard and the fused code's part for it, each [*batch, n, width]."""
        embedded = self._embedded(step)
        together = self._fused(step.auxiliary, embedded, step.batch)
        codes, fused = list[Tensor](), list[Tensor]()
        for m, e in embedded.items():
            project, here = step.auxiliary[f"project:{m}"], step.batch.present.get(m)
            part, code = project(together), project(step.auxiliary[STREAM](e).relu())
            codes.append(code if here is None else torch.where(here.unsqueeze(-1), code, part))
            fused.append(part)
        return codes, fused

    def _embedded(self, step: Step) -> dict[str, Tensor]:
        return {m: step.auxiliary[f"embed:{m}"](z) for m, z in step.features.items()}

    def _fused(self, auxiliary: nn.ModuleDict, embedded: Mapping[str, Tensor], batch: Batch) -> Tensor:
        return auxiliary[STREAM](late_average(embedded, batch.present)).relu()

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        embedded = {m: auxiliary[f"embed:{m}"](z) for m, z in model.encode(batch.x).items()}
        return auxiliary[PROBE](self._fused(auxiliary, embedded, batch))
