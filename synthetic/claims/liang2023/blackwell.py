"""C7.2: two noisy views of a binary class decompose by Blackwell's rule, as channels and as finely cut Gaussians."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import bsc_decomposition, pid
from mmtheory.stats import Interval
from synthetic.worlds import GaussianDiscriminant

_FLIPS = ((0.05, 0.05), (0.1, 0.2), (0.0, 0.3), (0.4, 0.15))
ATOMS = ("R", "U1", "U2", "S")


@final
@dataclass(frozen=True)
class Blackwell(Claim[GaussianDiscriminant]):
    r"""When the weaker view is a garbling of the stronger one, R is its whole information.

    .. math:: R = \min(I_1, I_2), \quad U_m = I_m - R, \quad S = I_{12} - \max(I_1, I_2)

    Cases: four pairs of symmetric channels solved as tables, and the two discriminants of the world cut into ``bins`` cells each, whose
    decomposition is solved from exact cell probabilities and tends to the closed form as the cells shrink.

    :param bins: cells of each discriminant; the error falls as 1/bins².
    """

    bins: int = 20

    def broken_assumptions(self, world: GaussianDiscriminant) -> tuple[str, ...]:
        fits = world.classes == 2 and len(world.d2) == 2 and world.rho == 0
        return () if fits else ("needs two modalities, two classes, and noises independent given the class",)

    def analytic(self, world: GaussianDiscriminant) -> Sides:
        both = world.modalities
        sides = {
            "gaussian R": world.known("redundancy", both),
            "gaussian U1": world.known("unique", both[:1]),
            "gaussian U2": world.known("unique", both[1:]),
            "gaussian S": world.known("synergy", both),
        }
        for flips in _FLIPS:
            atoms = bsc_decomposition(*flips).atoms().tolist()
            sides |= {f"flips {flips} {a}": Interval.exact(v) for a, v in zip(ATOMS, atoms, strict=True)}
        return sides

    def empirical(self, world: GaussianDiscriminant, trial: Trial) -> Sides:
        parts = [_cut(math.sqrt(d2), self.bins) for d2 in world.d2]
        tables = {"gaussian": torch.einsum("yi,yj->ijy", *parts) / 2}
        for flips in _FLIPS:
            views = [torch.tensor([[1 - e, e], [e, 1 - e]], dtype=torch.float64) for e in flips]
            tables[f"flips {flips}"] = torch.einsum("yi,yj->ijy", *views) / 2
        sides: dict[str, Interval] = {}
        for name, table in tables.items():
            found = pid(table)
            for atom, value in zip(ATOMS, found.atoms().tolist(), strict=True):
                sides[f"{name} {atom}"] = Interval.exact(value, float(found.gap))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "one tenth of a bit more", lambda side: side + 0.1 * math.log(2)),
            misstated(self, "information in bits", lambda side: side * (1 / math.log(2))),
            misstated(self, "five per cent less", lambda side: side * 0.95),
        )


def _cut(separation: float, bins: int) -> Tensor:
    """p(cell | y) of a unit-variance view with means ∓separation, in cells of equal mass under the mixture's spread, [y, cell]."""
    spread = math.sqrt(1 + separation**2)
    inner = spread * torch.special.ndtri(torch.arange(1, bins, dtype=torch.float64) / bins)
    means = torch.tensor([-separation, separation], dtype=torch.float64)[:, None]
    below = torch.special.ndtr(inner - means)
    ends = torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    return torch.cat([ends[0], below, ends[1]], 1).diff(dim=1)


BLACKWELL: Claim[Any] = Blackwell(
    id="C7.2",
    source=Source("liang2023", "Gaussian and channel cases, by Blackwell's order", "derived here"),
    statement="Two noisy views of a binary class decompose by Blackwell's rule.",
    world=GaussianDiscriminant(d2=(1.0, 0.36)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=0.002,
    unit="solves",
)
