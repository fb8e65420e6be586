"""Zhang et al. 2024, unimodal bias in deep linear fusion networks."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .fusion_depth import FUSION_DEPTH, INTERMEDIATE_RATIO
from .late_ratio import LATE_RATIO
from .many_dimensions import MANY_DIMENSIONS
from .misattribution import MISATTRIBUTION
from .superficial_preference import SUPERFICIAL_PREFERENCE

CLAIMS: tuple[Claim[Any], ...] = (
    LATE_RATIO,
    MANY_DIMENSIONS,
    INTERMEDIATE_RATIO,
    FUSION_DEPTH,
    MISATTRIBUTION,
    SUPERFICIAL_PREFERENCE,
)
