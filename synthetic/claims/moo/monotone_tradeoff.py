"""NGDiff: what is retained falls and what is forgotten rises at every step below min(‖g_R‖, ‖g_F‖)/L, and not beyond."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import NGDiff, gramian
from mmtheory.moo.problems import Problem, Spheres
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, least, runs


@final
@dataclass(frozen=True)
class MonotoneTradeoff(Claim[Quad]):
    r"""The decrease of one loss and the increase of the other in one step η = part·min(‖g_R‖, ‖g_F‖)/L.

    .. math:: \frac{L_R(x) - L_R(x^+)}{\eta\,\|g_R\|(1 - \cos)} \ge 1 - \text{part}, \qquad \frac{L_F(x^+) - L_F(x)}{\eta\,\|g_F\|(1 - \cos)} \ge 1 - \text{part}

    The step bound itself is part = 1, exactly attained on spheres: there both sides are equal for the shorter gradient.

    :param part: of the step bound; from 1 on nothing but a sign (≥ 0) is claimed.
    :param promise: factor of the right side.
    :param normalised: divide each gradient by its length; without, the plain difference of gradients.
    """

    part: float = 0.5
    promise: float = 1.0
    normalised: bool = True
    kinds: tuple[str, ...] = ("world", "spheres", "vlmop2", "logistic-pair")
    steps: int = 20

    def analytic(self, world: Quad) -> Sides:
        right = Interval.exact(max(1 - self.part, 0.0) * self.promise)
        return {f"{kind}, {what}": right for kind in self.kinds for what in ("retained", "forgotten")}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, drawn, start in runs(world, trial, self.kinds):
            problem = Spheres(drawn.centres[..., :2, :]) if isinstance(drawn, Spheres) else drawn
            sides |= {f"{kind}, {what}": found for what, found in self._walk(problem, start).items()}
        return sides

    def _walk(self, problem: Problem, x: torch.Tensor) -> dict[str, Interval]:
        """The least relative change of each loss on the way."""
        fall, rise, lives = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
        for _ in range(self.steps):
            rows = problem.jacobian(x)
            G = gramian(rows)
            norms = G.diagonal(dim1=-2, dim2=-1).sqrt()
            aligned = 1 - G[..., 0, 1] / norms.prod(-1).clamp(min=1e-300)
            w = NGDiff().solve(G) if self.normalised else torch.tensor([1.0, -1.0], dtype=torch.float64)
            rate = self.part * norms.amin(-1) / problem.smoothness
            after = x - rate[..., None] * (w[..., None] * rows).sum(-2)
            change = problem.values(after) - problem.values(x)
            lives.append((norms.amin(-1) > 1e-4) & (aligned > 1e-4))
            unit = (rate * aligned)[..., None] * norms
            fall.append(-change[..., 0] / unit[..., 0])
            rise.append(change[..., 1] / unit[..., 1])
            # Unlearning runs away: start afresh from half way back to where the losses still bend.
            x = torch.where((after.norm(dim=-1) < 4)[..., None], after, after / 2)
        live = torch.stack(lives)
        return {"retained": least(torch.stack(fall), live), "forgotten": least(torch.stack(rise), live)}

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", promise=self.promise / factor, kinds=("spheres",))

    def controls(self) -> tuple[Control, ...]:
        beyond = replace(self, id=f"{self.id}!beyond", part=1.2, kinds=("spheres",))
        plain = replace(self, id=f"{self.id}!plain", normalised=False, kinds=("world",))
        return (
            Control("a step of 1.2 times the bound", beyond, self.world),
            Control("the plain difference of gradients", plain, replace(self.world, norms=(1.0, 0.05))),
        )


MONOTONE_TRADEOFF: Claim[Any] = MonotoneTradeoff(
    id="moo/ngdiff",
    source=Source("moo", "moo.md §4: Bu et al. 2025, monotone trade-off with its exact step bound", "derived here"),
    statement="Below a step of min(‖g_R‖, ‖g_F‖)/L, NGDiff lowers the retained loss and raises the forgotten one.",
    world=Quad(norms=(1.0, 0.3), cosine=0.3),
    budgets=EXACT,
    relation=Relation.AT_LEAST,
    margin=1e-5,
    unit="replicates",
)
