"""Huang et al. 2021, more modalities lower the population risk."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .lda_crossover import LDA_CROSSOVER
from .ols_crossover import OLS_CROSSOVER
from .ols_risk import OLS_RISK
from .population_gap_sign import POPULATION_GAP_SIGN
from .schur_quality import SCHUR_QUALITY

CLAIMS: tuple[Claim[Any], ...] = (SCHUR_QUALITY, POPULATION_GAP_SIGN, OLS_RISK, OLS_CROSSOVER, LDA_CROSSOVER)
