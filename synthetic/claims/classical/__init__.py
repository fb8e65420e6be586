"""Classical tools: Rademacher complexities, confidence intervals, the harness itself."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

CLAIMS: tuple[Claim[Any], ...] = ()
