"""Wang et al. 2020, Gradient-Blending."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .gain_flip import GAIN_FLIP
from .ols_blend import OLS_BLEND
from .optimal_blend import OPTIMAL_BLEND

CLAIMS: tuple[Claim[Any], ...] = (OPTIMAL_BLEND, OLS_BLEND, GAIN_FLIP)
