"""Zhang et al. 2024, unimodal bias in deep linear fusion networks."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

CLAIMS: tuple[Claim[Any], ...] = ()
