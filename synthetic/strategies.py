"""Hypothesis strategies that draw concrete worlds from anywhere on their dials (needs the `test` extra).

``STRATEGIES[name]`` draws one of ``WORLDS[name]``: point your own bound, estimator or method at all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from torch import Tensor

from mmtheory.info import subsets
from mmtheory.rng import Stream
from mmtheory.testing.strategies import SEEDS, probability_tables, streams
from mmtheory.world import World
from synthetic.worlds import (
    WORLDS,
    Competition,
    ConnectionLinear,
    ConnectionSine,
    DeepLinear,
    Gated,
    GaussianDiscriminant,
    GaussianProbit,
    GaussianRegression,
    Histogram,
    Incomplete,
    LatentProbit,
    LatentRegression,
    Quad,
    Saturation,
    SelectionGaussian,
    SelectionTable,
    Table,
    TwoDials,
)

Linear = TypeVar("Linear", GaussianRegression, GaussianProbit)
Partial = TypeVar("Partial", bound=Incomplete)
Latent = TypeVar("Latent", LatentRegression, LatentProbit)

COUNTS = st.integers(2, 4)
WIDTHS = st.lists(st.integers(1, 3), min_size=2, max_size=4).map(tuple)
POSITIVE = st.floats(0.05, 3.0)
KAPPA = st.floats(-2, 2).map(lambda v: round(v, 3))
NOISE = st.sampled_from((0.0, 0.05, 0.3))
LAM = st.sampled_from((0.0, 1e-3, 0.05, 0.3, 1.0, 4.0, 60.0))


@st.composite
def linear_gaussians(draw: DrawFn, kind: type[Linear], *, count: SearchStrategy[int] = COUNTS) -> Linear:
    """Gaussian regression or probit worlds with any strength, width, scale, label noise and admissible noise correlation."""
    m = draw(count)
    return kind(
        snr=tuple(draw(st.floats(0.01, 20.0)) for _ in range(m)),
        dims=tuple(draw(st.integers(1, 3)) for _ in range(m)),
        scale=tuple(draw(st.floats(0.1, 10.0)) for _ in range(m)),
        label_noise=draw(st.floats(0.0 if kind is GaussianRegression else 0.01, 2.0)),
        rho=draw(st.floats(-0.9 / (m - 1), 0.9)),
    )


@st.composite
def discriminants(draw: DrawFn, *, count: SearchStrategy[int] = COUNTS) -> GaussianDiscriminant:
    """Two Gaussian classes with any separations and admissible noise correlation."""
    m = draw(count)
    d2 = tuple(draw(st.floats(0.01, 6.0)) for _ in range(m))
    return GaussianDiscriminant(d2=d2, rho=draw(st.floats(-0.9 / (m - 1), 0.9)), dims=(0,) * m)


@st.composite
def latents(draw: DrawFn, kind: type[Latent], *, widths: SearchStrategy[tuple[int, ...]] | None = None) -> Latent:
    """Worlds with dense loadings and a dense noise covariance of condition below 10⁴.

    :param widths: of the modalities; by default 2 to 4 modalities of 1 to 3 numbers.
    """
    chosen = draw(WIDTHS if widths is None else widths)
    d, size, draws = sum(chosen), draw(st.integers(1, 4)), draw(streams("latents")).draws()
    root = draws.normal("root", d, d)
    noise = root @ root.mT / d + 0.1 * torch.eye(d, dtype=torch.float64)
    return kind(
        loadings=tuple(matrix(block) for block in draws.normal("loading", d, size).split(list(chosen))),
        weights=tuple(draws.normal("weights", size).tolist()),
        noise=matrix((noise + noise.mT) / 2),
        scale=tuple(draw(st.floats(0.1, 10.0)) for _ in chosen),
        label_noise=0.3,
    )


def matrix(rows: Tensor) -> tuple[tuple[float, ...], ...]:
    """A matrix as a dial holds it."""
    return tuple(tuple(row) for row in rows.tolist())


@st.composite
def gated(draw: DrawFn, *, missing: bool = False) -> Gated:
    """Reliabilities and flips of 2 to 4 modalities; with ``missing``, a random pattern of absence too."""
    count = draw(COUNTS)
    unit = st.floats(0, 1).map(lambda v: round(v, 3))
    flips = tuple(draw(unit) / 2 for _ in range(count))
    world = Gated(tuple(draw(unit) for _ in range(count)), flips, label_noise=draw(NOISE))
    if not missing:
        return world
    words = ["".join(sorted(s)) for s in subsets(world.modalities)] + [""]
    chosen = draw(st.lists(st.sampled_from(words), min_size=1, max_size=5, unique=True))
    raw = [draw(st.integers(1, 9)) for _ in chosen]
    return replace(world, patterns=tuple(chosen), chances=tuple(r / sum(raw) for r in raw))


@st.composite
def selection_gaussians(draw: DrawFn, *, collider: bool | None = None) -> SelectionGaussian:
    """Gaussian selection worlds from anywhere on their dials."""
    dim = draw(st.integers(1, 6))
    sides = st.sampled_from((-1.0, 1.0)) if dim == 1 else st.floats(-1, 1).map(lambda v: round(v, 3))
    chosen = draw(st.booleans()) if collider is None else collider
    return SelectionGaussian((draw(KAPPA), draw(KAPPA)), draw(LAM), dim, draw(sides), chosen)


@st.composite
def selection_tables(draw: DrawFn) -> SelectionTable:
    """Selection tables of 2 to 4 modalities, their labels without noise: only then is the posterior a product of experts."""
    kappa = tuple(draw(st.floats(-2, 2)) for _ in range(draw(COUNTS)))
    return SelectionTable(kappa, draw(st.floats(0, 4)), draw(st.integers(2, 4)))


@st.composite
def connections(draw: DrawFn) -> ConnectionLinear:
    """Linear connection worlds with enough samples for both stages."""
    d = draw(st.integers(1, 12))
    return ConnectionLinear(
        d=d, q=draw(st.integers(1, d)), n=d + 2 + draw(st.integers(0, 60)), m=d + 2 + draw(st.integers(0, 400)),
        sigma=draw(POSITIVE), sigma_w=draw(POSITIVE), strength=draw(POSITIVE), gain=draw(POSITIVE),
    )  # fmt: skip


@st.composite
def joint_tables(draw: DrawFn, *, most: int = 3) -> Table:
    """Arbitrary laws of two or three modalities of few symbols, some cells empty."""
    shape = [draw(st.integers(2, most)) for _ in range(draw(st.integers(2, 3)) + 1)]
    table = probability_tables(Stream(draw(SEEDS)), (1, *shape), zeros=draw(st.sampled_from((0.0, 0.3))))[0]
    return Table("joint", joint=_nested(table.tolist()))


def _nested(value: Any) -> Any:  # noqa: ANN401 (a nested list of any depth)
    return tuple(_nested(v) for v in value) if isinstance(value, list) else value


@st.composite
def histograms(draw: DrawFn) -> Histogram:
    """Histogram worlds of two or three modalities."""
    count = draw(st.integers(2, 3))
    return Histogram(
        cells=tuple(draw(st.integers(2, 3)) for _ in range(count)),
        signal=tuple(draw(st.floats(-2, 2)) for _ in range(count)),
        interaction=draw(st.floats(-1, 1)),
        decay=draw(st.floats(0.3, 1.0)),
        label_noise=draw(NOISE),
    )


@st.composite
def deep_linears(draw: DrawFn) -> DeepLinear:
    """Deep linear fusion from early to late, with correlated inputs."""
    depth = draw(st.integers(2, 4))
    return DeepLinear(
        kappa=draw(st.floats(1.1, 4.0)), rho=draw(st.floats(-0.6, 0.6)), depth=depth, fusion_layer=draw(st.integers(1, depth))
    )  # fmt: skip


@st.composite
def saturations(draw: DrawFn) -> Saturation:
    """Two modalities with features of falling presence."""
    rows = [sorted((draw(st.floats(0, 1)) for _ in range(draw(st.integers(1, 4)))), reverse=True) for _ in "ab"]
    return Saturation(presence=tuple(map(tuple, rows)), n=draw(st.integers(1, 40)))


SINES = st.integers(4, 10).flatmap(
    lambda bits: st.integers(0, 2**bits - 1).map(lambda code: ConnectionSine(bits=bits, code=code))
)


@st.composite
def competitions(draw: DrawFn) -> Competition:
    """Competition worlds of any strengths, insufficient shares, classes and networks."""
    m = draw(COUNTS)
    shares = st.lists(st.floats(0, 1), min_size=m, max_size=m).map(tuple)
    strength = tuple(draw(POSITIVE) for _ in range(m))
    return Competition(
        strength, draw(shares), draw(st.integers(2, 6)), draw(st.integers(1, 8)), draw(st.floats(2.5, 8))
    )


@st.composite
def quads(draw: DrawFn) -> Quad:
    """Quadratics of 2 to 4 modalities at any admissible angle."""
    m = draw(COUNTS)
    norms = tuple(draw(POSITIVE) for _ in range(m))
    return Quad(
        draw(st.floats(-0.9 / (m - 1), 0.95)),
        norms,
        draw(st.floats(1, 50)),
        draw(st.floats(-2, 2)),
        m + draw(st.integers(0, 2)),
    )


@st.composite
def incomplete(draw: DrawFn, worlds: SearchStrategy[Partial], *, least: float = 0.0) -> Partial:
    """The same worlds with modalities missing at random: at one rate, or at one a modality, 0 and 1 included.

    :param least: the smallest rate; 0 lets nothing be missing too.
    """
    world = draw(worlds)
    rate = st.one_of(st.sampled_from((least, 1.0)), st.floats(least, 1).map(lambda v: max(least, round(v, 3))))
    rates = st.lists(rate, min_size=len(world.modalities), max_size=len(world.modalities)).map(tuple)
    return replace(world, missingness=draw(st.one_of(rate, rates)))  # pyright: ignore[reportArgumentType]


COMPLETE: Mapping[str, SearchStrategy[Any]] = MappingProxyType({
    "competition": competitions(),
    "quad": quads(),
    "histogram": histograms(),
    "gaussian-regression": linear_gaussians(GaussianRegression),
    "latent-regression": latents(LatentRegression),
    "gaussian-probit": linear_gaussians(GaussianProbit),
    "latent-probit": latents(LatentProbit),
    "gaussian-discriminant": discriminants(),
    "selection-gaussian": selection_gaussians(),
    "selection-table": st.builds(lambda world, noise: replace(world, label_noise=noise), selection_tables(), NOISE),
    "connection-linear": connections(),
    "connection-sine": SINES,
    "gated": st.booleans().flatmap(lambda missing: gated(missing=missing)),
    "table": joint_tables(),
    "deep-linear": deep_linears(),
    "saturation": saturations(),
    "two-dials": st.builds(
        TwoDials, speed=st.floats(0, 4), information=st.floats(0, 4), classes=st.integers(2, 5), nuisance=st.integers(0, 4)
    ),
})  # fmt: skip
"""Worlds in which nothing is missing (but the patterns of ``gated``)."""

STRATEGIES: Mapping[str, SearchStrategy[World]] = MappingProxyType({
    name: worlds | incomplete(worlds) if issubclass(WORLDS[name], Incomplete) else worlds
    for name, worlds in COMPLETE.items()
})  # fmt: skip
