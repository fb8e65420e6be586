"""Madaan et al. 2024 (I2M2), intra- and inter-modality terms."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

CLAIMS: tuple[Claim[Any], ...] = ()
