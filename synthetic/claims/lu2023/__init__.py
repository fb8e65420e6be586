"""Lu 2023, a theory of multimodal learning: connection and heterogeneity."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .linear_connection import ADVANTAGE_FACTOR, EXCESS_RISKS, NO_GAIN, UNLABELLED_RATE
from .sine_connection import SINE_SEPARATION
from .two_stage_bound import TWO_STAGE_BOUND

CLAIMS: tuple[Claim[Any], ...] = (
    EXCESS_RISKS,
    ADVANTAGE_FACTOR,
    UNLABELLED_RATE,
    SINE_SEPARATION,
    TWO_STAGE_BOUND,
    NO_GAIN,
)
