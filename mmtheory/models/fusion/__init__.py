"""Fusions by name: each takes ``widths`` (modality to feature width), ``classes`` and ``draws``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ._fusion import PROVIDERS as PROVIDERS
from ._fusion import Features as Features
from ._fusion import Fusion as Fusion
from .attention import Bottleneck as Bottleneck
from .attention import CrossAttention as CrossAttention
from .experts import ProductOfExperts as ProductOfExperts
from .film import FiLM as FiLM
from .gated import GMU as GMU
from .gated import Gated as Gated
from .late import Concat as Concat
from .late import SharedHead as SharedHead
from .late import Sum as Sum
from .tensor import LowRankTensor as LowRankTensor

FUSIONS: Mapping[str, Callable[..., Fusion]] = MappingProxyType({
    "sum": Sum,
    "concat": Concat,
    "shared": SharedHead,
    "film": FiLM,
    "gated": Gated,
    "gmu": GMU,
    "lmf": LowRankTensor,
    "cross-attention": CrossAttention,
    "mbt": Bottleneck,
    "poe": ProductOfExperts,
})  # fmt: skip
