"""Huang, Lin, Zhou, Yang and Huang 2022, modality competition."""

from __future__ import annotations

from typing import Any

from mmtheory.claims import Claim

from .lost_modality import JOINT_RISK, MORE_DATA
from .lottery import VANISHING_ERROR, WIN_PROBABILITY, WINNER

CLAIMS: tuple[Claim[Any], ...] = (WINNER, WIN_PROBABILITY, VANISHING_ERROR, JOINT_RISK, MORE_DATA)
