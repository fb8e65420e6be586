"""T5: every convex combination of the gradients that conflicts with none of them converges, with the mean loss's constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch
from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import MGDA, WEIGHTINGS
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, alive, least, most, runs, walked


@final
@dataclass(frozen=True)
class NonConflicting(Claim[Quad]):
    r"""d = Jᵀw with w on the simplex and Gw ≥ 0, steps 1/(mL): three ratios that are at most 1.

    .. math:: \frac{\|d_k\|^2}{2m^2L\,(\bar f(x_k) - \bar f(x_{k+1}))}, \qquad
        \frac{T \min_{k<T}\|d_k\|^2}{2m^2L\,(\bar f(x_0) - \inf \bar f)}, \qquad \frac{\|d_{\mathrm{MGDA}}\|}{\|d_k\|}

    The weightings' weights are divided by their sum.

    :param methods: whose directions are followed.
    :param share: part of the bound that is claimed.
    """

    methods: tuple[str, ...] = ("upgrad", "dualproj", "mgda")
    share: float = 1.0
    steps: int = 30
    step: float = 1.0

    def analytic(self, world: Quad) -> Sides:
        cases = ("decrease", "rate", "MGDA is shortest")
        tight = {"decrease": self.share, "rate": self.share, "MGDA is shortest": 1.0}
        return {f"{method}, {case}": Interval.exact(tight[case]) for method in self.methods for case in cases}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        m = len(world.norms)
        for method in self.methods:
            ((_, problem, start),) = runs(world, trial, ("world",))
            path = walked(problem, normalised(method), start, self.step / m, self.steps)
            mean = path.values.mean(-1)
            mixed = torch.full((m,), 1 / m, dtype=torch.float64)
            lowest = problem.values(problem.pareto_point(mixed)).mean(-1)
            unit = 2 * m**2 * problem.smoothness
            live = alive(path.squared)
            fall = (mean[:-1] - mean[1:]).where(live, 1.0)
            count = torch.arange(1, self.steps + 1, dtype=torch.float64)[:, None]
            shortest = MGDA().solve(path.gramians)
            length = (shortest * (path.gramians @ shortest[..., None])[..., 0]).sum(-1)
            sides[f"{method}, decrease"] = Interval.exact(1 / max(least(unit * fall / path.squared.where(live, 1.0), live).low, 1e-300))  # fmt: skip
            sides[f"{method}, rate"] = most(count * path.squared.cummin(0).values / (unit * (mean[0] - lowest)), live)
            sides[f"{method}, MGDA is shortest"] = most(length / path.squared.where(live, 1.0), live)
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor, methods=("upgrad",))

    def controls(self) -> tuple[Control, ...]:
        last = replace(self, id=f"{self.id}!last", methods=("!last",))
        far = replace(self, id=f"{self.id}!far", methods=("mgda",), step=2.0 * len(self.world.norms) * 1.3)
        steep = replace(self.world, norms=(1.0, 1.0, 1e-3))
        return (
            Control("a combination that conflicts", last, steep),
            Control("steps beyond 2/L", far, self.world),
        )


def normalised(method: str) -> Callable[[Tensor], Tensor]:
    """The method's weights over their sum; ``!…`` puts all weight on the last objective, which conflicts with the others."""
    if method.startswith("!"):
        return lambda G: torch.nn.functional.one_hot(torch.full(G.shape[:-2], G.shape[-1] - 1), G.shape[-1]).double()

    def weigh(G: Tensor) -> Tensor:
        w = WEIGHTINGS[method]().solve(G)
        return w / w.sum(-1, keepdim=True)

    return weigh


NON_CONFLICTING: Claim[Any] = NonConflicting(
    id="moo/T5",
    source=Source("moo", "moo.md §5, T5", "derived here"),
    statement="Any non-conflicting convex combination with steps 1/(mL) lowers the mean loss by ‖d‖²/(2m²L) and is no shorter than MGDA's.",
    world=Quad(norms=(1.0, 0.3, 0.5), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_MOST,
    margin=1e-6,
    unit="replicates",
)
