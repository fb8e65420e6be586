"""Review helpfulness prediction (Nguyen et al. 2022): the adaptive contrastive loss, its bound on information, and ranking."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .adaptive import ADAPTIVE_WEIGHTS, KEPT_DIAGONAL
from .information import NCE_BOUND
from .ranking import RANKING

CLAIMS: tuple[Claim[Any], ...] = (ADAPTIVE_WEIGHTS, KEPT_DIAGONAL, NCE_BOUND, RANKING)
