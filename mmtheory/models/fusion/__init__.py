"""Fusions by name: each takes ``widths`` (modality to feature width), ``classes`` and ``draws``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ._fusion import Features as Features
from ._fusion import Fusion as Fusion
from .late import Concat as Concat
from .late import SharedHead as SharedHead
from .late import Sum as Sum

FUSIONS: Mapping[str, Callable[..., Fusion]] = MappingProxyType({
    "sum": Sum,
    "concat": Concat,
    "shared": SharedHead,
})  # fmt: skip
