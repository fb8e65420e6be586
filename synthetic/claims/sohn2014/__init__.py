"""Sohn, Shang and Lee 2014, multimodal learning by minimising variation of information."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .conditional_loss import IDENTITY, LEAST_LOSS
from .convergence import CONVERGENCE
from .factorial import FACTORIAL
from .gaussian_pair import GAUSSIAN_PAIR
from .gibbs import GIBBS
from .machine import WELL_SPECIFIED
from .optima import BLOCKS_APART, MISSPECIFIED

CLAIMS: tuple[Claim[Any], ...] = (
    IDENTITY,
    LEAST_LOSS,
    GIBBS,
    BLOCKS_APART,
    MISSPECIFIED,
    GAUSSIAN_PAIR,
    WELL_SPECIFIED,
    CONVERGENCE,
    FACTORIAL,
)
