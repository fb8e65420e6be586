"""OGM and OGM-GE: slow the encoder of the modality that is ahead; put back the gradient noise this removes."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._contribution import Contributing, Contribution
from ._method import Card, Gradients, Method, Step, Strength
from ._scores import Reference, discrepancy, label_scores, ogm_coefficient, referenced
from ._strengths import epochs, ranged

Form = Literal["cvpr", "journal"]
Enhancement = Literal["off", "paper", "matched"]


class OGM(Contributing):
    r"""On-the-fly gradient modulation.

    .. math:: g^m \leftarrow k^m g^m + h^m, \qquad h^m \sim N(0, c\,\mathrm{std}(g^m)^2)

    :param alpha: strength, at least 0, in the journal form at most 1, beyond which it would climb; 0 is joint training bit for bit when
        ``ge`` is off.
    :param form: which coefficient, see ``ogm_coefficient``.
    :param ge: generalisation enhancement: ``off``; ``paper``, c = 1 (also where k = 1), so that the noise is more than plain training's;
        ``matched``, c = 1 − k², which puts back what was removed and is a no-op at k = 1.
    :param reference: what a modality is compared with when there are three or more.
    :param start: first epoch that is modulated.
    :param end: last epoch that is modulated.
    :param contribution: where unimodal logits come from; None takes the fusion's additive shares if it has them, else zeroing out.
    :raises ArgumentError: alpha out of range, an unknown form or enhancement.

    Source: Peng et al. 2022 (OGM-GE) and Wei et al. 2024 (journal form).
    """

    card: ClassVar[Card] = Card(
        name="ogm",
        source="Peng, Wei, Deng, Wang, Hu 2022 (CVPR); journal form Wei, Hu, Du, Wen 2024",
        summary="Scales down the gradient of every encoder whose modality is ahead in label score.",
        fidelity="paper",
        cost="1F + 1B, M head products",
        neutral="alpha = 0 with ge = off",
        differences=(
            "the released code modulates 4-D convolution weights alone; here every parameter of the encoder",
            "the released code scales one modality at exact ties; here ties are neutral",
            "the released code slices film and gated heads into a shape error; here contribution providers serve every fusion",
        ),
    )
    why_classes: ClassVar[str] = "its scores are probabilities of the true label"

    def __init__(
        self,
        alpha: Strength = 0.5,
        *,
        form: Form = "cvpr",
        ge: Enhancement = "off",
        reference: Reference = "harmonic",
        start: int = 0,
        end: int = 2**31,
        contribution: Contribution | None = None,
    ) -> None:
        ranged("ogm: alpha", alpha, high=1.0 if form == "journal" else math.inf)
        if form not in {"cvpr", "journal"} or ge not in {"off", "paper", "matched"}:
            raise ArgumentError(
                f"ogm: expected form cvpr or journal and ge off, paper or matched, found {form!r}, {ge!r}"
            )
        self.alpha = alpha
        self.form: Form = form
        self.ge: Enhancement = ge
        self.reference: Reference = referenced(reference)
        self.start, self.end = epochs("ogm: start", start), epochs("ogm: end", end)
        self.contribution = contribution

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        if not self.start <= step.epoch <= self.end:
            return gradients.total()
        scores = label_scores(self.provider.logits(step.model, step.features), step.batch.y)
        for m, ratio in discrepancy(scores, reference=self.reference).items():
            k = ogm_coefficient(ratio, self.alpha, form=self.form)
            g = gradients.owned("total", m)
            if self.ge == "off":
                g.mul_(k.unsqueeze(-1).to(g.dtype))
            else:
                self._enhanced(step, gradients, m, k)
        return gradients.total()

    def _enhanced(self, step: Step, gradients: Gradients, modality: str, k: Tensor) -> None:
        """Scale every tensor's gradient by k and add noise with the standard deviation that it had, in place."""
        tensors = [g.flatten(len(step.model.batch_shape)) for g in gradients.tensors("total", modality)]
        widths = [g.shape[-1] for g in tensors]
        amount = torch.ones_like(k) if self.ge == "paper" else (1 - k**2).sqrt()
        k, amount = (v.unsqueeze(-1).to(tensors[0].dtype) for v in (k, amount))
        noise = step.draws.noise(f"ge {modality}", sum(widths), dtype=k.dtype)
        for g, drawn in zip(tensors, noise.split(widths, dim=-1), strict=True):
            spread = g.std(-1, correction=0, keepdim=True).mul_(amount)
            g.mul_(k).addcmul_(drawn, spread)

    def neutral(self) -> Method | None:
        return OGM(0.0)


class OGMGE(OGM):
    """OGM with the paper's generalisation enhancement; not joint training even at alpha = 0."""

    card: ClassVar[Card] = Card(
        name="ogm-ge",
        source="Peng, Wei, Deng, Wang, Hu 2022 (CVPR)",
        summary="OGM plus Gaussian noise of the gradient's own size on every encoder.",
        fidelity="paper",
        cost="1F + 1B, M head products, one normal number a parameter",
        differences=(
            *OGM.card.differences,
            "ge = 'matched' is ours: it restores plain training's noise exactly, the paper's form exceeds it",
        ),
    )
    why_classes: ClassVar[str] = "its scores are probabilities of the true label"

    def __init__(self, alpha: Strength = 0.5, *, ge: Enhancement = "paper", form: Form = "cvpr") -> None:
        super().__init__(alpha, ge=ge, form=form)

    def neutral(self) -> Method | None:
        return None
