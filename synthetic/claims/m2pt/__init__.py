"""M2PT (Wang et al. 2024): what prompts before a frozen attention layer can and cannot change."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .attention import CONTENT_RATIOS, OUT_OF_REACH

CLAIMS: tuple[Claim[Any], ...] = (CONTENT_RATIOS, OUT_OF_REACH)
