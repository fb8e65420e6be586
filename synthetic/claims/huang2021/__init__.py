"""Huang et al. 2021, more modalities lower the population risk."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .erm_monotone import ERM_MONOTONE
from .lda_crossover import LDA_CROSSOVER
from .logistic_risk_difference import LOGISTIC_RISK_DIFFERENCE
from .ols_crossover import OLS_CROSSOVER
from .ols_risk import OLS_RISK
from .population_gap_sign import POPULATION_GAP_SIGN
from .representation_quality import REPRESENTATION_QUALITY
from .risk_difference import EMPIRICAL_RISK_DIFFERENCE, RISK_DIFFERENCE, SHARP_RISK_DIFFERENCE
from .schur_quality import SCHUR_QUALITY
from .slack_rate import INFORMATIVE_SIZE, SLACK_RATE

CLAIMS: tuple[Claim[Any], ...] = (
    RISK_DIFFERENCE,
    SHARP_RISK_DIFFERENCE,
    REPRESENTATION_QUALITY,
    EMPIRICAL_RISK_DIFFERENCE,
    LOGISTIC_RISK_DIFFERENCE,
    ERM_MONOTONE,
    SCHUR_QUALITY,
    POPULATION_GAP_SIGN,
    OLS_RISK,
    OLS_CROSSOVER,
    LDA_CROSSOVER,
    SLACK_RATE,
    INFORMATIVE_SIZE,
)
