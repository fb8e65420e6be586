"""Adaptive contrastive learning on an interaction transformer: views of one sample meet, those of others part, the farther the faster."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import Dense, MultimodalModel
from mmtheory.models.contrastive import adaptive_contrastive, adaptive_hinge, info_nce
from mmtheory.models.interaction import Interaction
from mmtheory.rng import Draws

from ._method import Card, Method, Step, Strength, per_replicate, required
from ._strengths import off, ranged

Contrast = Literal["adaptive", "plain"]
Task = Literal["classify", "rank"]
INTERACTION = "interaction:shared"


@final
class MRHP(Method):
    r"""Adaptive contrastive learning of multimodal review helpfulness, for any modalities and any number of classes.

    .. math:: L = L_\text{task} + w\,\frac{1}{\binom M2} \sum_{a<b} \frac{\ell(S^{ab}) + \ell(S^{ba})}{2\gamma}, \qquad
        S^{ab}_{ij} = \cos(c^a_i, c^b_j),\quad c^m = \tanh(W_m \tilde z^m)

    with the circle loss ℓ of ``adaptive_contrastive`` and z̃ the features after the interaction transformer. A pair of modalities
    counts in the samples that have both and whose class is ``relevant`` or above. A batch of one sample has nothing to contrast.

    :param weight: w, at least 0; 0 leaves the contrastive term out, γ is the released loss.
    :param layers: blocks of the interaction transformer; 0 leaves the features as they are.
    :param contrast: ``adaptive``, or ``plain`` cross-entropy of finding the partner at temperature 1/10, for comparison.
    :param task: ``classify`` by cross-entropy; ``rank`` by the adaptive hinge on the expected class, averaged over the ordered pairs.
    :param margin: m of the circle loss.
    :param sharpness: γ of the circle loss.
    :param keep_diagonal: the positive stands among the negatives too, as released.
    :param relevant: the least class whose samples are contrasted.
    :param width: of the common space.
    :raises ArgumentError: a number out of its domain; at ``bind``, a single modality.

    Source: Nguyen et al. 2022 (EMNLP).
    """

    card: ClassVar[Card] = Card(
        name="mrhp",
        source="Nguyen et al. 2022 (EMNLP)",
        summary="Adds an interaction transformer and an adaptive contrastive loss between all pairs of modalities.",
        fidelity="reconstruction",
        cost="1F + 1B, a small transformer over M feature vectors, M (M - 1) similarity matrices",
        neutral="weight = 0 with layers = 0",
        differences=(
            "any two modalities or more; theirs are text and pictures of a product and of a review, hence six pairs",
            "the encoders are the model's own and give one vector each, lifted into tokens; theirs give sequences, and their maximum runs "
            "over padding as well",
            "interaction is a residual on the features of any fusion; their coherence, matching and pooling heads are left out",
            "the contrastive loss is divided by its sharpness, whose gradient of some hundreds plain descent does not survive: weight = 256 "
            "is the released sum",
            "each pair of modalities is contrasted in both directions; the released code takes one",
            "keep_diagonal = True mirrors the released negatives, which contain the positive; off by default",
            "ranking pairs are those of the mini-batch, whatever product they are of, and are averaged; theirs are lists of one product",
        ),
    )

    def __init__(
        self,
        weight: Strength = 1.0,
        *,
        layers: int = 1,
        contrast: Contrast = "adaptive",
        task: Task = "classify",
        margin: float = 0.25,
        sharpness: float = 256.0,
        keep_diagonal: bool = False,
        relevant: int = 0,
        width: int = 32,
    ) -> None:
        if contrast not in {"adaptive", "plain"} or task not in {"classify", "rank"}:
            raise ArgumentError(
                f"mrhp: expected contrast adaptive or plain and task classify or rank, found {contrast!r}, {task!r}"
            )
        if layers < 0 or width < 1 or relevant < 0 or not 0 < sharpness < math.inf or not margin >= 0:
            raise ArgumentError(
                f"mrhp: expected layers, relevant, margin >= 0, a finite sharpness > 0 and width >= 1, found {layers}, {relevant}, {margin}, {sharpness}, {width}"
            )
        self.weight = ranged("mrhp: weight", weight)
        self.layers, self.width, self.relevant = layers, width, relevant
        self.contrast: Contrast = contrast
        self.task: Task = task
        self.margin, self.sharpness, self.keep_diagonal = margin, sharpness, keep_diagonal

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        if len(model.modalities) < 2:
            raise ArgumentError(
                f"mrhp: expected two modalities or more to contrast, found {', '.join(model.modalities)}"
            )

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        dtype = next(model.parameters()).dtype
        widths = {m: model.width(m) for m in model.modalities}
        parts: dict[str, nn.Module] = {}
        if not off(self.weight):
            for m, w in widths.items():
                parts[f"common:{m}"] = Dense(w, self.width, draws=draws, name=f"common:{m}", dtype=dtype)
        if self.layers:
            parts[INTERACTION] = Interaction(widths, draws=draws, layers=self.layers, dtype=dtype)
        return parts

    def on_features(self, step: Step) -> None:
        if self.layers:
            step.features = step.auxiliary[INTERACTION](step.features, step.batch.present)

    def losses(self, step: Step) -> dict[str, Tensor]:
        logits = required(step.logits)
        total = step.cross_entropy(logits) if self.task == "classify" else ranking_loss(logits, step.batch.y)
        if not off(self.weight) and step.batch.n > 1:
            total = total + per_replicate(self.weight, total) * self.contrastive(step)
        return {"total": total}

    def contrastive(self, step: Step) -> Tensor:
        """The mean contrastive loss over ordered pairs of modalities, [*batch]."""
        codes = self.codes(step.auxiliary, step.features)
        wanted = step.batch.y >= self.relevant
        found: list[Tensor] = []
        for a, b in combinations(sorted(codes), 2):
            alike = codes[a] @ codes[b].mT
            here = [step.batch.present[m] for m in (a, b) if m in step.batch.present]
            both = torch.stack(here).all(0) if here else None
            rows = wanted if both is None else wanted & both
            found += [self._loss(similarity, rows, both) for similarity in (alike, alike.mT)]
        return torch.stack(found).mean(0)

    def _loss(self, similarity: Tensor, rows: Tensor, columns: Tensor | None) -> Tensor:
        if self.contrast == "plain":
            return info_nce(10.0 * similarity, rows=rows, columns=columns)
        each = adaptive_contrastive(
            similarity, margin=self.margin, sharpness=self.sharpness, keep_diagonal=self.keep_diagonal, rows=rows, columns=columns
        )  # fmt: skip
        return each / self.sharpness

    def codes(self, auxiliary: nn.ModuleDict, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Each modality's unit vector in the common space, [*batch, n, width]; what retrieval across modalities compares."""
        return {m: functional.normalize(auxiliary[f"common:{m}"](z).tanh(), dim=-1) for m, z in features.items()}

    def predict(self, model: MultimodalModel, auxiliary: nn.ModuleDict, batch: Batch) -> Tensor:
        if not self.layers:
            return super().predict(model, auxiliary, batch)
        return model.fuse(auxiliary[INTERACTION](model.encode(batch.x), batch.present), None, batch.present)

    def neutral(self) -> Method:
        return MRHP(0.0, layers=0)


def expected_class(logits: Tensor) -> Tensor:
    """The mean class number under the predicted probabilities, a score to rank by. Shape: [*batch, n, classes] to [*batch, n].

    >>> expected_class(torch.zeros(1, 3)).tolist()
    [1.0]
    """
    levels = torch.arange(logits.shape[-1], dtype=logits.dtype, device=logits.device)
    return logits.softmax(-1) @ levels


def ranking_loss(logits: Tensor, y: Tensor) -> Tensor:
    """The adaptive hinge on expected classes, averaged over the pairs of unequal classes, [*batch]; 0 where there is none."""
    pairs = (y[..., :, None] > y[..., None, :]).sum((-2, -1)).clamp(min=1)
    return adaptive_hinge(expected_class(logits), y.to(logits.dtype)) / pairs
