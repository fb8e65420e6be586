"""C5.9: for fusion before the last layer the relative unimodal phase vanishes like u₀ to the power L − L_f."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval
from synthetic.worlds import DeepLinear
from synthetic.worlds.rank_one import rank_one_passages

CASES = {"L=4 L_f=3": (4, 3), "L=5 L_f=3": (5, 3), "L=4 L_f=2, less its logarithm": (4, 2)}
SIZES = (0.02, 0.005)


@final
@dataclass(frozen=True)
class VanishingPhase(Claim[DeepLinear]):
    r"""The slope of ln(t_B/t_A − 1) in ln u₀ is L − L_f for 2 < L_f < L; at L_f = 2 after division by ln(1/u₀).

    .. math:: \frac{t_B}{t_A} - 1 \propto u_0^{L-L_f} \;(L_f>2), \qquad \propto u_0^{L-2}\ln\tfrac1{u_0} \;(L_f=2)

    Left: first passages of the rank-one dynamics by a stiff solver between u₀ = 0.02 and 0.005, κ = 2, ρ = 0.5.
    """

    formula: Callable[[int, int], float] = lambda depth, fusion_layer: float(depth - fusion_layer)
    logarithm: bool = True

    def analytic(self, world: DeepLinear) -> Sides:
        return {case: Interval.exact(self.formula(*layers)) for case, layers in CASES.items()}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        return {case: self._slope(*layers) for case, layers in CASES.items()}

    def _slope(self, depth: int, fusion_layer: int) -> Interval:
        """Between the two starts, with the solver's error."""
        ends: list[Interval] = []
        for u0 in SIZES:
            first, second = rank_one_passages((4.0, 1.0, 1.0, 5.0, 2.0), depth, fusion_layer, u0)
            log = math.log(math.log(1 / u0)) if fusion_layer == 2 and self.logarithm else 0.0
            low, high = second.low / first.high - 1, second.high / first.low - 1
            ends.append(Interval(math.log(low) - log, math.log(high) - log))
        return (ends[0] - ends[1]) * (1 / math.log(SIZES[0] / SIZES[1]))

    def controls(self) -> tuple[Control, ...]:
        one = replace(self, id=f"{self.id}!L-2", formula=lambda depth, _f: float(depth - 2))
        bare = replace(self, id=f"{self.id}!log", logarithm=False)
        return (
            Control("exponent L − 2", one, self.world),
            Control("no logarithm at L_f = 2", bare, self.world),
        )


VANISHING_PHASE: Claim[Any] = VanishingPhase(
    id="C5.9",
    source=Source("zhang2024", "relative phase of intermediate fusion", "derived here"),
    statement="For 2 < L_f < L the relative unimodal phase vanishes like u₀^{L−L_f}; at L_f = 2 with a factor ln(1/u₀).",
    world=DeepLinear(depth=4, fusion_layer=3, u0=0.01),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=0.1,
    unit="grids",
)
