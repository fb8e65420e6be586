"""W6, tables: symbols that copy the label now and then, kept more often when their sum matches it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.info import fano_error

from ._dials import names
from ._enumerated import MOST_CELLS, Enumerated
from ._gates import noisy
from ._inverse import feasible
from ._missing import Rates


@final
@dataclass(frozen=True)
class SelectionTable(Enumerated):
    r"""M symbols and a label over {0..A−1}, selected by a checksum.

    .. math:: p(x_m|y) \propto e^{\kappa_m 1[x_m = y]}, \qquad P(\text{kept}|x,y) = e^{\lambda(1[y \equiv \sum_m x_m \bmod A] - 1)}

    with a uniform label before selection (after it the label is in general not uniform). λ = 0 is naive Bayes; κ = 0 leaves the
    interaction alone, and then no proper subset of the modalities says anything.

    :param kappa: one strength a modality (2 to 8 of them); 0 is a symbol independent of the label.
    :param lam: strength of the interaction.
    :param symbols: A; all tables have A^(M+1) cells.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :param label_noise: probability that the label is replaced by another one, all alike; 0 for none.
    :raises ArgumentError: a dial out of its domain, or more than 2·10⁷ cells.

    Source: Madaan et al. 2024, the graph of Section 3 (paper); this family derived here.

    >>> world = SelectionTable(kappa=(0.0, 0.0), lam=50.0, symbols=2)
    >>> round(world.known("information", {"a", "b"}).middle / math.log(2), 9), round(world.known("information", {"a"}).middle, 9)
    (1.0, 0.0)
    """

    name: ClassVar[str] = "selection-table"

    kappa: tuple[float, ...] = (1.0, 0.5)
    lam: float = 1.0
    symbols: int = 3
    missingness: Rates = 0.0
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        if not 2 <= len(self.kappa) <= 8 or not all(map(math.isfinite, self.kappa)) or not 0 <= self.lam < math.inf:
            raise ArgumentError(f"{self.name}: expected 2 to 8 finite kappa and lam >= 0, found {self.dials()}")
        if self.symbols < 2 or self.symbols ** (len(self.kappa) + 1) > MOST_CELLS:
            raise ArgumentError(
                f"{self.name}: expected at least 2 symbols and at most {MOST_CELLS} cells, found {self.symbols} symbols"
            )
        _ = self.rates, self.table

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...] | None = None,
        synergy: float | None = None,
        count: int = 2,
        symbols: int = 3,
    ) -> Self:
        r"""Naive Bayes (λ = 0) whose modalities have these informations, or pure synergy (κ = 0) with this much of it.

        Either way a symmetric channel on A symbols with :math:`\text{strength} = \ln\frac{(1-e)(A-1)}{e}`, e its error.

        Unit: nat.

        :param synergy: I(x; y) of all modalities together, every proper subset of which knows nothing.
        :param count: modalities of a synergistic world.
        :raises InfeasibleError: a target outside [0, ln A), with that interval.
        :raises ArgumentError: both targets, or neither.

        >>> round(SelectionTable.from_targets(information=(0.5, 0.2)).known("information", {"a"}).middle, 12)
        0.5
        """
        if (information is None) == (synergy is None):
            raise ArgumentError("from_targets: expected either information or synergy, found both or neither")
        if information is not None:
            return cls(tuple(_strength("every information, nat,", i, symbols) for i in information), 0.0, symbols)
        return cls((0.0,) * count, _strength("a synergy, nat,", float(synergy or 0.0), symbols), symbols)

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.kappa), self.name)

    @cached_property
    def experts(self) -> Mapping[str, Tensor]:
        """Logits of the experts, each broadcasting to the table: one a modality, and ``inter``; without label noise they add up to the posterior's."""
        count, a = len(self.kappa), self.symbols
        same = torch.eye(a, dtype=torch.float64)
        logits = {
            m: (k * same).reshape(*(a if j == i else 1 for j in range(count)), a)
            for i, (m, k) in enumerate(zip(self.modalities, self.kappa, strict=True))
        }
        digit = torch.arange(a)
        total = sum(
            (digit.reshape(*(a if j == i else 1 for j in range(count)), 1) for i in range(count)), torch.tensor(0)
        )
        return {**logits, "inter": self.lam * (total % a == digit).double()}

    @cached_property
    def table(self) -> Tensor:
        weight = sum(self.experts.values(), torch.tensor(0.0, dtype=torch.float64)) - sum(
            max(k, 0.0) for k in self.kappa
        )
        table = torch.exp(weight - self.lam)
        return noisy(table / table.sum(), self.label_noise)


def _strength(what: str, information: float, symbols: int) -> float:
    """Log-odds of the right symbol against each other one, in a symmetric channel of uniform input with this information."""
    cap = math.log(symbols)
    wrong = float(fano_error(cap - feasible(what, information, 0.0, cap, attained=False), symbols))
    feasible(what, information, 0.0, cap - 1e-15, attained=wrong > 0)
    return max(0.0, math.log((1 - wrong) * (symbols - 1) / wrong)) if information else 0.0
