"""The worlds: laws that know their own answers, one a file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mmtheory.world import World

from ._enumerated import Enumerated as Enumerated
from ._gaussian_learners import Blending as Blending
from ._gaussian_learners import GaussianLaw as GaussianLaw
from ._linear_gaussian import LinearGaussian as LinearGaussian
from ._missing import Incomplete as Incomplete
from .competition import Competition as Competition
from .connection_linear import ConnectionLinear as ConnectionLinear
from .connection_sine import ConnectionSine as ConnectionSine
from .deep_linear import DeepLinear as DeepLinear
from .gated import Gated as Gated
from .gaussian_discriminant import GaussianDiscriminant as GaussianDiscriminant
from .gaussian_probit import GaussianProbit as GaussianProbit
from .gaussian_probit import LatentProbit as LatentProbit
from .gaussian_regression import GaussianRegression as GaussianRegression
from .histogram import Histogram as Histogram
from .latent_regression import LatentRegression as LatentRegression
from .quad import Quad as Quad
from .saturation import Saturation as Saturation
from .selection_gaussian import SelectionGaussian as SelectionGaussian
from .selection_table import SelectionTable as SelectionTable
from .table import Table as Table
from .two_dials import TwoDials as TwoDials

WORLDS: Mapping[str, type[World]] = MappingProxyType({
    "histogram": Histogram,
    "gaussian-regression": GaussianRegression,
    "latent-regression": LatentRegression,
    "gaussian-probit": GaussianProbit,
    "latent-probit": LatentProbit,
    "gaussian-discriminant": GaussianDiscriminant,
    "selection-gaussian": SelectionGaussian,
    "selection-table": SelectionTable,
    "connection-linear": ConnectionLinear,
    "connection-sine": ConnectionSine,
    "gated": Gated,
    "table": Table,
    "deep-linear": DeepLinear,
    "saturation": Saturation,
    "two-dials": TwoDials,
    "competition": Competition,
    "quad": Quad,
})  # fmt: skip
