"""MMLoRA: adapters of low rank on frozen unimodal models, in the linear world."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .adapters import RISK_CURVE, SEPARATE
from .trained import TRAINED

CLAIMS: tuple[Claim[Any], ...] = (RISK_CURVE, SEPARATE, TRAINED)
