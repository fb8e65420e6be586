"""Multi-objective optimisation: rates with their constants, bias of stochastic Gramians, and what rescalings break."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .blocks import BLOCKS
from .ca_distance import HORIZON_EXPONENTS
from .convergence import REACHES, STUCK_POINT
from .convex_rates import CONVEX_RATE, STRONGLY_CONVEX_RATE
from .feasibility import FEASIBILITY
from .front import CONCAVE_FRONT, SEPARABLE
from .gramian_bias import GRAMIAN_BIAS
from .min_norm import MIN_NORM
from .monotone_tradeoff import MONOTONE_TRADEOFF
from .nonconflicting import NON_CONFLICTING
from .population_conflict import POPULATION_CONFLICT
from .rescaling import RESCALING
from .smooth_bias import SMOOTH_BIAS
from .smooth_lexicographic import SMOOTH_LEXICOGRAPHIC
from .stationarity import INEXACT_SOLVER, STATIONARITY
from .sufficient_decrease import SUFFICIENT_DECREASE

CLAIMS: tuple[Claim[Any], ...] = (
    MIN_NORM,
    POPULATION_CONFLICT,
    REACHES,
    SUFFICIENT_DECREASE,
    STATIONARITY,
    INEXACT_SOLVER,
    CONVEX_RATE,
    STRONGLY_CONVEX_RATE,
    NON_CONFLICTING,
    BLOCKS,
    STUCK_POINT,
    MONOTONE_TRADEOFF,
    SMOOTH_LEXICOGRAPHIC,
    SMOOTH_BIAS,
    FEASIBILITY,
    SEPARABLE,
    CONCAVE_FRONT,
    RESCALING,
    GRAMIAN_BIAS,
    HORIZON_EXPONENTS,
)
