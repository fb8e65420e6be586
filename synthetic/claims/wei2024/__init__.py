"""Wei et al. 2024 and Shapley valuations of modalities."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .lda_shapley import LDA_SHAPLEY
from .sample_level import SAMPLE_LEVEL
from .shapley_axioms import SHAPLEY_AXIOMS
from .shapley_identity import SHAPLEY_IDENTITY, SHAPLEY_IDENTITY_GAUSSIAN

CLAIMS: tuple[Claim[Any], ...] = (
    SHAPLEY_IDENTITY,
    SHAPLEY_IDENTITY_GAUSSIAN,
    SHAPLEY_AXIOMS,
    LDA_SHAPLEY,
    SAMPLE_LEVEL,
)
