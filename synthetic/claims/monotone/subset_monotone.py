"""C11.1: a further modality never hurts, and where modalities are conditionally independent it pays less the more there are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import numpy as np
from scipy import integrate, special

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval, Relation
from mmtheory.world import World
from synthetic.worlds import GaussianDiscriminant, GaussianRegression, LatentRegression, Table

Worths = Mapping[frozenset[str], tuple[float, float]]


@final
@dataclass(frozen=True)
class SubsetMonotone(Claim[World]):
    r"""For S ⊂ T: r*(T) ≤ r*(S) and I(x_T; y) ≥ I(x_S; y); and, given conditional independence, I is submodular.

    .. math:: I(R \cup i) + I(R \cup j) \ge I(R \cup \{i, j\}) + I(R)

    One case a pair of neighbouring subsets and one a square of the subset lattice, in the claim's world and its companions. The larger
    side is computed anew from the law's own moments, masses or density, the smaller one is the world's answer.

    In the regression world the label is a noisy copy of the latent: the modalities are independent given the latent, and the information is
    a concave function of an additive signal-to-noise ratio, which is all that submodularity needs.
    """

    companions: tuple[World, ...] = field(default=())

    def _worlds(self, world: World) -> dict[str, World]:
        """The worlds by a prefix for their cases."""
        return {f"{w.name}: ": w for w in (world, *self.companions)}

    def broken_assumptions(self, world: World) -> tuple[str, ...]:
        if isinstance(world, GaussianRegression | GaussianDiscriminant):
            return (
                ()
                if world.rho == 0
                else (f"conditionally independent modalities, found noise correlation {world.rho}",)
            )
        if isinstance(world, Table):
            return () if world.gate == "bsc" else (f"channels of one label (gate bsc), found gate {world.gate}",)
        return (f"a regression, discriminant or table world, found {world.name}",)

    def analytic(self, world: World) -> Sides:
        sides: dict[str, Interval] = {}
        for prefix, w in self._worlds(world).items():
            for s, m in _steps(w.modalities):
                sides[f"{prefix}I({_text(s | {m})}) ≥ I({_text(s)})"] = w.known("information", s)
                sides[f"{prefix}r({_text(s | {m})}) ≤ r({_text(s)})"] = -w.known("bayes_risk", s)
            for r, i, j in _squares(w.modalities):
                both = w.known("information", r | {i, j}) + w.known("information", r)
                sides[f"{prefix}submodular at {_text(r)} with {i}, {j}"] = both
        return sides

    def empirical(self, world: World, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for prefix, w in self._worlds(world).items():
            worth = _worths(w)
            for s, m in _steps(w.modalities):
                gain, risk = worth[s | {m}]
                sides[f"{prefix}I({_text(s | {m})}) ≥ I({_text(s)})"] = Interval.exact(gain)
                sides[f"{prefix}r({_text(s | {m})}) ≤ r({_text(s)})"] = Interval.exact(-risk)
            for r, i, j in _squares(w.modalities):
                value = worth[r | {i}][0] + worth[r | {j}][0]
                sides[f"{prefix}submodular at {_text(r)} with {i}, {j}"] = Interval.exact(value)
        return sides

    def controls(self) -> tuple[Control, ...]:
        alone = replace(self, id="C11.1!", companions=())
        parts = LatentRegression(loadings=(((2.0, 0.0),), ((0.0, 2.0),)), weights=(1.0, 1.0), label_noise=0.1)
        return (
            Control("parity is supermodular", alone, Table("xor", count=3)),
            Control("a suppressor is supermodular", alone, LatentRegression.suppressor(snr=1.0, rho=0.8)),
            Control("two parts of a sum are supermodular", alone, parts),
        )


def _steps(modalities: tuple[str, ...]) -> list[tuple[frozenset[str], str]]:
    """Every subset with every modality that it lacks."""
    every = (frozenset[str](), *subsets(modalities))
    return [(s, m) for s in every for m in modalities if m not in s]


def _squares(modalities: tuple[str, ...]) -> list[tuple[frozenset[str], str, str]]:
    """Every subset with every pair of modalities that it lacks."""
    every = (frozenset[str](), *subsets(modalities))
    return [(r, i, j) for r in every for i, j in itertools.combinations(modalities, 2) if not r & {i, j}]


def _text(given: Iterable[str]) -> str:
    """A subset in a case's name."""
    return ",".join(sorted(given)) or "∅"


def _worths(world: World) -> Worths:
    """(information, Bayes risk) of every subset, from the law's own parameters."""
    chosen = list(subsets(world.modalities))
    if isinstance(world, GaussianRegression | LatentRegression):
        return {s: _gaussian(world, s) for s in chosen}
    if isinstance(world, GaussianDiscriminant):
        return {s: _discriminant(world, s) for s in chosen}
    if isinstance(world, Table):
        return {s: _tabular(world, s) for s in chosen}
    return {}


def _gaussian(world: GaussianRegression | LatentRegression, given: frozenset[str]) -> tuple[float, float]:
    """By determinants."""
    cov, cross = (part.numpy() for part in world.law.block(given))
    joint = np.block([[cov, cross[:, None]], [cross[None], np.array([[world.law.variance]])]])
    log_left = float(np.linalg.slogdet(joint)[1] - np.linalg.slogdet(cov)[1])
    return 0.5 * (math.log(world.law.variance) - log_left), math.exp(log_left)


def _discriminant(world: GaussianDiscriminant, given: frozenset[str]) -> tuple[float, float]:
    """By the entropy of the discriminant score, a mixture of two normal densities."""
    mean, cov = (part.numpy() for part in world.moments(given))
    d2 = float((np.linalg.solve(np.linalg.cholesky(cov), mean) ** 2).sum())
    d = math.sqrt(d2)

    def cell(t: float) -> float:
        density = 0.5 * (math.exp(-((t - d) ** 2) / 2) + math.exp(-((t + d) ** 2) / 2)) / math.sqrt(2 * math.pi)
        return float(special.entr(density))

    mixture = float(integrate.quad(cell, -d - 12, d + 12, epsabs=1e-13, epsrel=1e-12, limit=400)[0])
    return mixture - 0.5 * math.log(2 * math.pi * math.e), float(special.ndtr(-d))


def _tabular(world: Table, given: frozenset[str]) -> tuple[float, float]:
    """By sums over the joint masses."""
    masses = world.table.numpy()
    drop = tuple(i for i, m in enumerate(world.modalities) if m not in given)
    joint = masses.sum(axis=drop).reshape(-1, masses.shape[-1])
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    return float(special.rel_entr(joint, independent).sum()), float(joint.sum() - joint.max(1).sum())


SUBSET_MONOTONE: Claim[Any] = SubsetMonotone(
    id="C11.1",
    source=Source(
        "monotone", "monotonicity in the modality set and submodularity under conditional independence", "known"
    ),
    statement="Risk falls and information grows with the modality set; information is submodular where modalities are conditionally independent.",
    world=GaussianRegression(snr=(3.0, 1.0, 0.5, 0.0), dims=(1, 2, 1, 1)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    relation=Relation.AT_LEAST,
    margin=1e-9,
    unit="computations",
    companions=(
        GaussianDiscriminant(d2=(0.64, 0.36, 1.0), dims=(1, 1, 1)),
        Table("bsc", flip=(0.1, 0.2, 0.3)),
    ),
)
