"""Huang et al. 2021, more modalities lower the population risk."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .ols_risk import OLS_RISK

CLAIMS: tuple[Claim[Any], ...] = (OLS_RISK,)
