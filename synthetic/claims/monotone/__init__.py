"""Monotone laws: risk falls and information grows with the modality set."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

CLAIMS: tuple[Claim[Any], ...] = ()
