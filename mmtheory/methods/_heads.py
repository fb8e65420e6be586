"""Auxiliary unimodal heads: a linear classifier on each modality's features, shared by every method that asks for unimodal losses."""

from __future__ import annotations

from torch import Tensor, nn

from mmtheory.models import Dense, MultimodalModel
from mmtheory.rng import Draws

from ._method import Step


def unimodal_heads(model: MultimodalModel, draws: Draws) -> dict[str, nn.Module]:
    """One linear head a modality, owned by ``head:<modality>``."""
    dtype = next(model.parameters()).dtype
    return {
        head_of(m): Dense(model.width(m), model.fusion.classes, draws=draws, name=head_of(m), dtype=dtype)
        for m in model.modalities
    }


def head_of(modality: str) -> str:
    """The owner name of a modality's auxiliary head."""
    return f"head:{modality}"


def head_logits(step: Step) -> dict[str, Tensor]:
    """Logits of every heard modality's own head."""
    return {m: step.auxiliary[head_of(m)](z) for m, z in step.features.items()}
