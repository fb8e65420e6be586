"""Classical tools: Rademacher complexities, confidence intervals, the harness itself."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .coverage import COVERAGE
from .product_class import PRODUCT_CLASS
from .protocol_gate import PROTOCOL_GATE

CLAIMS: tuple[Claim[Any], ...] = (PRODUCT_CLASS, COVERAGE, PROTOCOL_GATE)
