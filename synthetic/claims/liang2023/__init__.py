"""Liang et al. 2023 and 2024, partial information decomposition and synergy bounds."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .accuracy import ACCURACY
from .additive_suite import ADDITIVE_SUITE
from .blackwell import BLACKWELL
from .estimate import ESTIMATE
from .gates import GATES
from .optimum import OPTIMUM
from .plug_in_bias import PLUG_IN_BIAS
from .sandwich import SANDWICH

CLAIMS: tuple[Claim[Any], ...] = (GATES, OPTIMUM, BLACKWELL, PLUG_IN_BIAS, ESTIMATE, SANDWICH, ACCURACY, ADDITIVE_SUITE)
