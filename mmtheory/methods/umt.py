"""UMT: every encoder is also taught by a frozen copy of itself that was trained alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._method import Card, Method, Step, Strength, View, per_replicate
from ._strengths import off, ranged
from .unimodal import Unimodal


@final
class UMT(Method):
    r"""Uni-modal teachers.

    .. math:: L = \mathrm{CE}(o, y) + \lambda \sum_m \frac{1}{n d_m} \sum_i \|z^m_i - z^m_{i,T}\|^2

    The teachers are the encoders of a unimodal training with the same initialisation, data and settings, frozen and in evaluation mode.
    Samples in which a modality is absent teach nothing.

    :param lam: λ; 0 is joint training bit for bit, and trains no teachers.
    :param teacher_epochs: how long the teachers are trained; None as long as the student.

    Source: Du et al. 2023 (ICML).
    """

    card: ClassVar[Card] = Card(
        name="umt",
        source="Du, Teng, Li, Liu, Yuan, Wang, Yuan, Zhao 2023 (ICML)",
        summary="Distils the features of frozen unimodal encoders into the jointly trained ones.",
        fidelity="paper",
        cost="1F + 1B, M teacher encoders forward; before that one unimodal training",
        neutral="lam = 0",
        differences=(
            "the squared distance is a mean over features (as in BalanceBenchmark), so that lam means the same at every width",
            "teachers start from the student's initialisation and are trained within the run; the released code loads checkpoints",
        ),
    )
    why_classes: ClassVar[str] = ""

    def __init__(self, lam: Strength = 10.0, *, teacher_epochs: int | None = None) -> None:
        if teacher_epochs is not None and teacher_epochs < 0:
            raise ArgumentError(f"umt: expected teacher_epochs >= 0, found {teacher_epochs}")
        self.lam, self.teacher_epochs = ranged("umt: lam", lam), teacher_epochs

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        self.teachers = copy.deepcopy(model.encoders).eval().requires_grad_(requires_grad=False)
        self.taught = False

    def on_epoch(self, view: View) -> None:
        if self.taught or off(self.lam):
            return
        trained = view.fit(Unimodal(), self.teacher_epochs)
        self.teachers.load_state_dict(trained.encoders.state_dict())
        self.teachers.eval()
        self.taught = True

    def losses(self, step: Step) -> dict[str, Tensor]:
        losses = super().losses(step)
        if off(self.lam):
            return losses
        far = torch.stack([self._distance(step, m) for m in step.features]).sum(0)
        total = losses["total"]
        return {"total": total + per_replicate(self.lam, total) * far}

    def _distance(self, step: Step, modality: str) -> Tensor:
        """Mean squared distance of a modality's features from its teacher's, [*batch]."""
        with torch.no_grad():
            aim = self.teachers[modality](step.batch.x[modality])
        far = ((step.features[modality] - aim) ** 2).mean(-1)
        here = step.batch.present.get(modality)
        return far.mean(-1) if here is None else torch.where(here, far, 0).mean(-1)

    def state_dict(self) -> dict[str, Tensor]:
        if off(self.lam):
            return {}
        return {f"teacher {k}": v for k, v in self.teachers.state_dict().items()} | {
            "taught": torch.tensor(self.taught)
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if off(self.lam):
            return
        self.taught = bool(state["taught"])
        self.teachers.load_state_dict({k.removeprefix("teacher "): v for k, v in state.items() if k != "taught"})

    def neutral(self) -> Method:
        return UMT(0.0)
