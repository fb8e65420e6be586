"""UmURL (Sun et al. 2023): what its consistencies find with linear encoders, and what keeps them from collapse."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .consensus import CONSENSUS, WHITENED_VIEWS
from .spread import SPREAD

CLAIMS: tuple[Claim[Any], ...] = (CONSENSUS, WHITENED_VIEWS, SPREAD)
