"""Monotone laws: risk falls and information grows with the modality set."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .missing_mixture import MISSING_MIXTURE
from .subset_monotone import SUBSET_MONOTONE
from .u_shape import U_SHAPE

CLAIMS: tuple[Claim[Any], ...] = (SUBSET_MONOTONE, U_SHAPE, MISSING_MIXTURE)
