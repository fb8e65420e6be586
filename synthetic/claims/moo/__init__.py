"""Multi-objective optimisation: rates with their constants, bias of stochastic Gramians, and what rescalings break."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .min_norm import MIN_NORM
from .sufficient_decrease import SUFFICIENT_DECREASE

CLAIMS: tuple[Claim[Any], ...] = (
    MIN_NORM,
    SUFFICIENT_DECREASE,
)
