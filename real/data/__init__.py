"""Real data sets, one a file: its layout check, its splits and its tiny double."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ._dataset import Dataset as Dataset
from ._dataset import Index as Index
from ._dataset import Part as Part
from ._dataset import Parts as Parts
from .avdigits import AvDigits as AvDigits
from .htad import Htad as Htad
from .uci import UciMultipleFeatures as UciMultipleFeatures

DATASETS: Mapping[str, type[Dataset]] = MappingProxyType({
    data.name: data
    for data in (
        Htad,
        UciMultipleFeatures,
        AvDigits,
    )
})  # fmt: skip
"""Every data set by name."""
