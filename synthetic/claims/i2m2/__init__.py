"""Checks of the I2M2 construction itself (Madaan et al. 2024): priors, parity, calibration, and a loss of the released code."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .confidence import BINARY_LOSS, TEMPERATURE
from .experts import PARITY, PRIOR_ONCE

CLAIMS: tuple[Claim[Any], ...] = (PRIOR_ONCE, PARITY, TEMPERATURE, BINARY_LOSS)
