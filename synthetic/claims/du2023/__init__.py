"""Du et al. 2023, modality laziness, UMT and UME."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .crossover import CROSSOVER
from .dominance import DOMINANCE

CLAIMS: tuple[Claim[Any], ...] = (DOMINANCE, CROSSOVER)
