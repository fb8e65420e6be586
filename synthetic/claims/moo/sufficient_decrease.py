"""T1: a step 1/L along the min-norm direction lowers every objective by at least ‖d‖²/(2L)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self, final

from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, alive, frank_wolfe, least, runs, walked


@final
@dataclass(frozen=True)
class SufficientDecrease(Claim[Quad]):
    r"""What every objective gains at every step, in units of what the theorem promises.

    .. math:: f_i(x_{k+1}) \le f_i(x_k) - \frac{\|d_k\|^2}{2L}, \qquad t = 1/L

    Left: the least of (f_i(x_k) − f_i(x_{k+1}))·2L/‖d_k‖² over objectives, steps and replicates. Right: 1.

    :param step: the step in units of 1/L; above 2 nothing is promised.
    :param promise: what is claimed, 1 by the theorem.
    :param weighting: whose direction is followed.
    """

    step: float = 1.0
    promise: float = 1.0
    weighting: str | Callable[[Tensor], Tensor] = "mgda"
    kinds: tuple[str, ...] = ("world", "spheres", "quadratics", "logistic-pair", "vlmop2", "smooth-dtlz2")
    steps: int = 25

    def analytic(self, world: Quad) -> Sides:
        return {kind: Interval.exact(self.promise) for kind in self.kinds}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, problem, start in runs(world, trial, self.kinds):
            path = walked(problem, self.weighting, start, self.step, self.steps)
            gain = (path.values[:-1] - path.values[1:]).amin(-1) * 2 * problem.smoothness
            live = alive(path.squared)
            sides[kind] = least(gain / path.squared.where(live, 1.0), live)
        return sides

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", promise=self.promise / factor, kinds=("spheres", "quadratics"))

    def controls(self) -> tuple[Control, ...]:
        few = replace(self, kinds=("world",))
        far = replace(few, id=f"{self.id}!step", step=2.5)
        early = replace(few, id=f"{self.id}!frank-wolfe", weighting=frank_wolfe(5))
        uneven = replace(self.world, norms=(1.0, 0.1, 0.01))
        mean = replace(few, id=f"{self.id}!mean", weighting="mean")
        more = replace(self, id=f"{self.id}!more", promise=1.1, kinds=("spheres",))
        return (
            Control("a step of 2.5/L", far, self.world),
            Control("Frank–Wolfe stopped after five rounds", early, uneven),
            Control("the mean in place of the min-norm direction", mean, self.world),
            Control("a tenth more than promised", more, self.world),
        )


SUFFICIENT_DECREASE: Claim[Any] = SufficientDecrease(
    id="moo/T1",
    source=Source("moo", "moo.md §5, T1: descent lemma and ⟨g_i, d⟩ ≥ ‖d‖²", "derived here"),
    statement="A step 1/L along the min-norm direction lowers every objective by at least ‖d‖²/(2L), at every step.",
    world=Quad(norms=(1.0, 0.3, 1.0), cosine=-0.4),
    budgets=EXACT,
    relation=Relation.AT_LEAST,
    margin=1e-6,
    unit="replicates",
)
