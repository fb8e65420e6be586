"""The worlds: laws that know their own answers, one a file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mmtheory.world import World

from .gaussian_regression import GaussianRegression as GaussianRegression

WORLDS: Mapping[str, type[World]] = MappingProxyType({
    "gaussian-regression": GaussianRegression,
})  # fmt: skip
