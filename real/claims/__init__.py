"""The registered claims about real data sets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from mmtheory.claims import Claim

CLAIMS: Mapping[str, Claim[Any]] = MappingProxyType({})
