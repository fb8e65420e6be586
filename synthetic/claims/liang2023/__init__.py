"""Liang et al. 2023 and 2024, partial information decomposition and synergy bounds."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

CLAIMS: tuple[Claim[Any], ...] = ()
