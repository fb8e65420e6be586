"""Wei et al. 2024 and Shapley valuations of modalities."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .lda_shapley import LDA_SHAPLEY

CLAIMS: tuple[Claim[Any], ...] = (LDA_SHAPLEY,)
