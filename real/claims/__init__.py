"""The registered claims about real data sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mmtheory.claims import Claim

from .more_modalities_pay import MORE_MODALITIES_PAY

CLAIMS: Mapping[str, Claim[Any]] = MappingProxyType({claim.id: claim for claim in (MORE_MODALITIES_PAY,)})
