"""Hypothesis strategies for the library's values: hypothesis draws the structure and a seed, a Stream fills in the numbers.

A failing example therefore shrinks to a small shape and a seed, not to a page of floats.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from mmtheory.rng import Stream
from mmtheory.stats import Interval

SEEDS: SearchStrategy[int] = st.integers(0, 2**32)
NAMES = "abcdefgh"


def streams(name: str = "property") -> SearchStrategy[Stream]:
    """A stream from any seed."""
    return SEEDS.map(lambda seed: Stream(seed, (name,)))


def modalities(least: int = 2, most: int = 4) -> SearchStrategy[tuple[str, ...]]:
    """Names of ``least`` to ``most`` modalities."""
    return st.integers(least, most).map(lambda count: tuple(NAMES[:count]))


@st.composite
def intervals(draw: DrawFn, values: SearchStrategy[float] | None = None) -> Interval:
    """Exact intervals with ends from ``values`` (by default any finite number)."""
    ends = st.floats(-1e6, 1e6) if values is None else values
    low, high = sorted((draw(ends), draw(ends)))
    return Interval(low, high)


@st.composite
def tables(draw: DrawFn, *, axes: int = 3, least: int = 1, most: int = 4, batch: int = 6) -> Tensor:
    """Batches of probability tables [batch, a_1, …, a_axes], flat or spiky, some of them with cells of probability 0."""
    shape = [draw(st.integers(least, most)) for _ in range(axes)]
    return probability_tables(
        draw(streams("tables")), (batch, *shape), spike=draw(st.sampled_from((1.0, 3.0))), zeros=draw(st.sampled_from((0.0, 0.5)))
    )  # fmt: skip


def probability_tables(stream: Stream, shape: Sequence[int], *, spike: float = 1.0, zeros: float = 0.0) -> Tensor:
    """Random tables [batch, a_1, …], each summing to 1.

    :param spike: power of the exponential masses; 1 draws uniformly from the simplex, more makes few cells heavy.
    :param zeros: share of cells that get no mass (never the first).
    """
    draws, axes = stream.draws(), len(shape) - 1
    mass = (-(1 - draws.uniform("mass", *shape)).log()) ** spike
    mass = torch.where(draws.uniform("zeros", *shape) < zeros, 0.0, mass)
    mass.flatten(1)[:, 0] += 1e-3
    return mass / mass.flatten(1).sum(1).reshape(-1, *[1] * axes)


@st.composite
def covariances(draw: DrawFn, *, least: int = 2, most: int = 5) -> Tensor:
    """Positive definite matrices [d, d] of condition at most about 1e4."""
    d = draw(st.integers(least, most))
    root = draw(streams("cov")).draws().normal("root", d, d)
    cov = root @ root.mT
    return cov / cov.diagonal().mean() + 1e-3 * torch.eye(d, dtype=cov.dtype)
