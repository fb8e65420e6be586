"""Zhang et al. 2024, unimodal bias in deep linear fusion networks."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .competition import COMPETITION
from .fusion_depth import FUSION_DEPTH, INTERMEDIATE_RATIO
from .late_ratio import LATE_RATIO
from .many_dimensions import MANY_DIMENSIONS
from .misattribution import MISATTRIBUTION
from .permanent_bias import PERMANENT_BIAS
from .speed_dial import SPEED_DIAL
from .superficial_preference import SUPERFICIAL_PREFERENCE
from .vanishing_phase import VANISHING_PHASE

CLAIMS: tuple[Claim[Any], ...] = (
    LATE_RATIO,
    MANY_DIMENSIONS,
    INTERMEDIATE_RATIO,
    FUSION_DEPTH,
    MISATTRIBUTION,
    SUPERFICIAL_PREFERENCE,
    PERMANENT_BIAS,
    COMPETITION,
    VANISHING_PHASE,
    SPEED_DIAL,
)
