"""C8.1: with two modalities the Shapley value of information is the unique part and half of the rest."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval
from synthetic.worlds import GaussianDiscriminant, Table


@final
@dataclass(frozen=True)
class ShapleyIdentity(Claim[Any]):
    r"""The decomposition explains Shapley values.

    .. math:: \phi_1 = U_1 + \tfrac12(R + S), \qquad v(12) - v(1) - v(2) = S - R

    The empirical side knows no decomposition: it averages marginal contributions over both orders of arrival, with informations of its own
    (sums over the table, or Gauss–Hermite quadrature of the discriminants).
    """

    def broken_assumptions(self, world: Any) -> tuple[str, ...]:  # noqa: ANN401 (two kinds of world)
        if not isinstance(world, (Table, GaussianDiscriminant)) or len(world.modalities) != 2:
            return ("needs a table or a Gaussian discriminant of two modalities",)
        if isinstance(world, GaussianDiscriminant) and world.classes != 2:
            return ("a decomposition is exact for two classes",)
        return ()

    def analytic(self, world: Any) -> Sides:  # noqa: ANN401
        both = world.modalities
        shared = world.known("redundancy", both)
        whole = world.known("synergy", both)
        sides = {f"phi {m}": world.known("unique", [m]) + (shared + whole) * 0.5 for m in both}
        return {**sides, "interaction": whole - shared}

    def empirical(self, world: Any, trial: Trial) -> Sides:  # noqa: ANN401
        worth = _table_worth(world.table) if isinstance(world, Table) else _discriminant_worth(world)
        values = {frozenset[int](): 0.0, **{frozenset(s): worth(s) for s in ((0,), (1,), (0, 1))}}
        phi = [0.0, 0.0]
        for order in itertools.permutations((0, 1)):
            for k, player in enumerate(order):
                phi[player] += (values[frozenset(order[: k + 1])] - values[frozenset(order[:k])]) / 2
        sides = {f"phi {m}": Interval.exact(v, 1e-10) for m, v in zip(world.modalities, phi, strict=True)}
        cross = values[frozenset((0, 1))] - values[frozenset((0,))] - values[frozenset((1,))]
        return {**sides, "interaction": Interval.exact(cross, 1e-10)}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "a hundredth more", lambda side: side * 1.01),
            misstated(self, "in bits", lambda side: side * (1 / math.log(2))),
        )


def _table_worth(table: Tensor) -> Callable[[tuple[int, ...]], float]:
    """I(x_S; y) as H(y) − H(y | x_S), term by term."""

    def worth(players: tuple[int, ...]) -> float:
        drop = [axis for axis in (0, 1) if axis not in players]
        joint = (table.sum(drop) if drop else table).reshape(-1, table.shape[-1]).tolist()
        prior = [sum(column) for column in zip(*joint, strict=True)]
        rows = [(sum(row), row) for row in joint]
        terms = [p * math.log(p / (total * q)) for total, row in rows for p, q in zip(row, prior, strict=True) if p > 0]
        return math.fsum(terms)

    return worth


def _discriminant_worth(world: GaussianDiscriminant) -> Callable[[tuple[int, ...]], float]:
    """ln 2 − E ln(1 + e^{−L}), L the log-odds of the discriminant of the modalities, by a fine midpoint rule."""
    z = (torch.arange(40_000, dtype=torch.float64) + 0.5) / 2000 - 10
    density = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) / 2000
    mean = torch.tensor(world.d2, dtype=torch.float64).sqrt()

    def worth(players: tuple[int, ...]) -> float:
        keep = list(players)
        noise = (1 - world.rho) * torch.eye(len(keep), dtype=torch.float64) + world.rho
        square = float(mean[keep] @ torch.linalg.solve(noise, mean[keep]))
        odds = 2 * square + 2 * math.sqrt(square) * z
        return math.log(2) - float((density * torch.nn.functional.softplus(-odds)).sum())

    return worth


def _identity(name: str, world: Table | GaussianDiscriminant) -> Claim[Any]:
    return ShapleyIdentity(
        id=name,
        source=Source("wei2024", "two modalities, information as worth", "derived here"),
        statement="With two modalities φ is the unique part and half of redundancy and synergy; the interaction is synergy minus redundancy.",
        world=world,
        budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
        margin=1e-7,
        unit="solves",
    )


SHAPLEY_IDENTITY = _identity("C8.1", Table("bsc", flip=(0.1, 0.25)))
SHAPLEY_IDENTITY_GAUSSIAN = _identity("C8.1b", GaussianDiscriminant(d2=(1.0, 0.36), rho=0.3))
