"""Du et al. 2023, modality laziness, UMT and UME."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .coverage_law import COVERAGE_LAW, GUIDING_RULE
from .crossover import CROSSOVER
from .distillation import REPAIRED_COMPETITION, REPAIRED_SATURATION
from .dominance import DOMINANCE

CLAIMS: tuple[Claim[Any], ...] = (
    DOMINANCE,
    CROSSOVER,
    REPAIRED_COMPETITION,
    REPAIRED_SATURATION,
    COVERAGE_LAW,
    GUIDING_RULE,
)
