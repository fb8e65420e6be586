"""T6: min-norm weights of their own for every parameter block still descend on all objectives, but certify less."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import MGDA, gramian
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, alive, least, runs


@final
@dataclass(frozen=True)
class Blocks(Claim[Quad]):
    r"""Block-wise MGDA, d = (d_b): four numbers that are at least 1.

    .. math:: \frac{\langle g_i, d\rangle}{\sum_b \|d_b\|^2}, \qquad \frac{f_i(x) - f_i(x - d/L)}{\sum_b\|d_b\|^2/(2L)}, \qquad
        \frac{\|d_{\mathrm{global}}\|^2}{\sum_b \|d_b\|^2}

    and, on J = [[1, −1], [−3, 1]] with a block a parameter, 5(‖d_global‖² − Σ‖d_b‖²): the block measure is 0 away from stationarity.
    The third needs every objective to reach every block: where one does not, d_b is the shortest of fewer and may be longer.

    :param masked: objectives that reach the first block only by turns: a structural mask, with which the third inequality fails.
    :param solver: ``block`` min-norm or the ``mean``.
    """

    masked: bool = False
    solver: str = "block"
    width: int = 2
    steps: int = 30

    def analytic(self, world: Quad) -> Sides:
        one = Interval.exact(1.0)
        return dict.fromkeys(("common descent", "decrease", "below the global measure", "vanishes where it should not"), one)  # fmt: skip

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        ((_, problem, x),) = runs(world, trial, ("world",))
        L = problem.smoothness
        slopes, gains, ratios, measures = list[Tensor](), list[Tensor](), list[Tensor](), list[Tensor]()
        for _ in range(self.steps):
            rows = problem.jacobian(x)
            if self.masked:
                rows = rows * self._mask(rows)
            d, measure = self._direction(rows)
            slopes.append((rows @ d[..., None])[..., 0].amin(-1))
            after = x - d / L
            gains.append((problem.values(x) - problem.values(after)).amin(-1) * 2 * L)
            whole = MGDA().solve(gramian(rows))
            ratios.append(((whole[..., None] * rows).sum(-2) ** 2).sum(-1))
            measures.append(measure)
            x = after
        total = torch.stack(measures)
        live = alive(total)
        safe = total.where(live, 1.0)
        return {
            "common descent": least(torch.stack(slopes) / safe, live),
            "decrease": least(torch.stack(gains) / safe, live) if not self.masked else Interval.exact(1.0),
            "below the global measure": least(torch.stack(ratios) / safe, live),
            "vanishes where it should not": _example(),
        }

    def _mask(self, rows: Tensor) -> Tensor:
        """Objective 0 reaches all blocks but the last, objective 1 all but the first, and so on by turns."""
        m, d = rows.shape[-2:]
        count = d // self.width
        block = torch.arange(d, device=rows.device) // self.width
        missing = (torch.arange(m, device=rows.device)[:, None] + count - 1) % count
        return (block != missing).double()

    def _direction(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Every block's own direction side by side, and the sum of their squares."""
        parts = list[Tensor]()
        for b, part in enumerate(rows.split(self.width, -1)):
            reach = part
            if self.masked:
                mask = self._mask(rows)[:, b * self.width] > 0
                reach = part[..., mask, :]
            w = MGDA().solve(gramian(reach)) if self.solver == "block" else torch.full(reach.shape[:-1], 1 / reach.shape[-2]).double()  # fmt: skip
            parts.append((w[..., None] * reach).sum(-2))
        d = torch.cat(parts, -1)
        return d, (d**2).sum(-1)

    def controls(self) -> tuple[Control, ...]:
        masked = replace(self, id=f"{self.id}!masked", masked=True)
        mean = replace(self, id=f"{self.id}!mean", solver="mean")
        return (
            Control("blocks that some objectives do not reach", masked, self.world),
            Control("the mean in every block", mean, self.world),
        )


def _example() -> Interval:
    """5(‖d_global‖² − Σ‖d_b‖²) of the two-by-two example."""
    J = torch.tensor([[1.0, -1.0], [-3.0, 1.0]], dtype=torch.float64)

    def squared(rows: Tensor) -> Tensor:
        w = MGDA().solve(rows @ rows.mT)
        return ((w @ rows) ** 2).sum()

    return Interval.exact(float(5 * (squared(J) - squared(J[:, :1]) - squared(J[:, 1:]))))


BLOCKS: Claim[Any] = Blocks(
    id="moo/T6",
    source=Source("moo", "moo.md §5, T6, for blocks that every objective reaches", "derived here"),
    statement="Block-wise min-norm directions descend on every objective by Σ‖d_b‖², which never exceeds the global measure and can vanish alone.",
    world=Quad(norms=(1.0, 0.3, 0.6), cosine=-0.3, dim=6),
    budgets=EXACT,
    relation=Relation.AT_LEAST,
    margin=1e-6,
    unit="replicates",
)
