"""Madaan et al. 2024 (I2M2), intra- and inter-modality terms."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .expert_gaps import INTER_GAP, INTRA_GAP
from .experts_from_data import CENTRED_EXPERTS, COLLIDER_BIAS
from .log_odds import CALIBRATION, LOG_ODDS
from .product_of_experts import PRODUCT_OF_EXPERTS
from .trained_experts import NEVER_WORSE
from .unrestricted_inter import UNRESTRICTED_INTER

CLAIMS: tuple[Claim[Any], ...] = (
    PRODUCT_OF_EXPERTS,
    LOG_ODDS,
    CALIBRATION,
    INTRA_GAP,
    INTER_GAP,
    NEVER_WORSE,
    COLLIDER_BIAS,
    UNRESTRICTED_INTER,
    CENTRED_EXPERTS,
)
