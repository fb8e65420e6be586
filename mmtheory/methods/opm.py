"""OPM: drop the features of the modality that is ahead, sample by sample, with a probability that grows with its lead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._method import Card, Method, Step, Strength, per_replicate
from ._scores import Reference, discrepancy, label_scores, referenced
from ._strengths import epochs

Scale = Literal["none", "exact", "shared"]


@final
class OPM(Contributing):
    r"""On-the-fly prediction modulation.

    .. math:: q^m = q_{base}(1 + \lambda\tanh(\rho^m - 1)) \;\text{if}\; \rho^m > 1 \;\text{else}\; 0, \qquad z^m_i \leftarrow \delta^m_i z^m_i,
        \quad \delta^m_i \sim \mathrm{Bernoulli}(1 - q^m)

    The ratio of one step sets the masks of the next; a sample that would lose every modality keeps them all.

    :param q_base: drop probability at ρ = 1, in [0, 1]; 0 is joint training bit for bit.
    :param lam: how much of it grows with the lead, at least 0.
    :param p_exe: share of the steps that are modulated, in [0, 1]; 0 is joint training.
    :param scale: ``exact`` divides kept features by 1 − q^m (unbiased), ``shared`` by one factor for all modalities (the released
        code, biased), ``none`` not at all.
    :param warmup: epochs without modulation.

    Source: Wei, Hu, Du, Wen 2024 (TPAMI; the rule from two independent re-implementations).
    """

    card: ClassVar[Card] = Card(
        name="opm",
        source="Wei, Hu, Du, Wen 2024 (TPAMI)",
        summary="Masks features of modalities that are ahead in label score.",
        fidelity="paper",
        cost="1F + 1B, M head products",
        neutral="q_base = 0 or p_exe = 0",
        differences=(
            "scale = 'shared' mirrors the released code's single inverse-dropout factor; the default is the unbiased one",
            "a sample that would lose every modality keeps all; the released code removes it from the batch",
            "the released code waits five epochs (warmup = 5); the default begins at once",
            "the ratio of one step acts on the next, as in the paper; the released code uses the current batch",
        ),
    )
    why_classes: ClassVar[str] = "its scores are probabilities of the true label"

    def __init__(
        self,
        q_base: Strength = 0.5,
        *,
        lam: Strength = 0.5,
        p_exe: Strength = 0.7,
        scale: Scale = "exact",
        warmup: int = 0,
        reference: Reference = "harmonic",
        contribution: Contribution | None = None,
    ) -> None:
        for name, value, top in (("q_base", q_base, 1.0), ("p_exe", p_exe, 1.0), ("lam", lam, float("inf"))):
            if not isinstance(value, Tensor) and not 0 <= value <= top:
                raise ArgumentError(f"opm: expected {name} in [0, {top}], found {value}")
        if scale not in {"none", "exact", "shared"}:
            raise ArgumentError(f"opm: expected scale none, exact or shared, found {scale!r}")
        self.q_base, self.lam, self.p_exe, self.warmup = q_base, lam, p_exe, epochs("opm: warmup", warmup)
        self.scale: Scale = scale
        self.reference: Reference = referenced(reference)
        self.contribution = contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        super().bind(model, draws)
        like = next(model.parameters())
        self.q = {m: like.new_zeros(model.batch_shape, dtype=torch.float64) for m in model.modalities}

    def on_features(self, step: Step) -> None:
        plain = {m: z.detach() for m, z in step.features.items()}
        if step.epoch >= self.warmup:
            self._mask(step)
        with torch.no_grad():
            scores = label_scores(self.provider.logits(step.model, plain), step.batch.y)
            for m, ratio in discrepancy(scores, reference=self.reference).items():
                lead = 1 + per_replicate(self.lam, ratio) * torch.tanh(ratio.double() - 1)
                q = (per_replicate(self.q_base, ratio) * lead).clamp(0, 1)
                self.q[m] = torch.where(ratio > 1, q, torch.zeros_like(q))

    def _mask(self, step: Step) -> None:
        """Multiply kept features by their scale and dropped ones by zero; where q = 0 that is a product with one."""
        n = step.batch.n
        go = (step.draws.uniform("execute") < self.p_exe).unsqueeze(-1)
        keep = {m: ~((step.draws.uniform(f"drop {m}", n) < q.unsqueeze(-1)) & go) for m, q in self.q.items()}
        nobody = ~torch.stack(list(keep.values())).any(0)
        widths = {m: z.shape[-1] for m, z in step.features.items()}
        mean_q = torch.stack([widths[m] * q for m, q in self.q.items()]).sum(0) / sum(widths.values())
        lost = {m: {"none": torch.zeros_like(q), "exact": q, "shared": mean_q}[self.scale] for m, q in self.q.items()}
        for m, z in step.features.items():
            factor = torch.where(go, 1 / (1 - lost[m]).clamp(min=1e-6).unsqueeze(-1), 1.0)
            step.features[m] = z * (factor * (keep[m] | nobody)).unsqueeze(-1).to(z.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        return {f"q {m}": q for m, q in self.q.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.q = {m: state[f"q {m}"].clone() for m in self.q}

    def neutral(self) -> Method:
        return OPM(0.0)
