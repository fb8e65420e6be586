"""C5.3 and C5.4: the time ratio of intermediate fusion, and how it grows with the depth of the fusion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, Relation
from synthetic.worlds import DeepLinear
from synthetic.worlds.fusion_flow import FusionNet, flow
from synthetic.worlds.phase_laws import scalar_moments

from ._measured import plateaus

Law = Callable[[int, float, float], float]
LAYERS, RHOS = (2, 3), (0.0, 0.5, -0.25)
CASES = {f"L_f={f} ρ={r:g}": (f, r) for f in LAYERS for r in RHOS}
SMALL = 0.03


def law(fusion_layer: int, rho: float, u0: float) -> float:
    """(5.2) and (5.3), κ = 2, L = 4."""
    return float(scalar_moments(2.0, rho).ratio(4, fusion_layer, u0))


def headless(fusion_layer: int, rho: float, u0: float) -> float:
    """The same without B's head start: ‖Σ_yA‖ for ‖Σ_yA‖ − ‖Σ_yB‖."""
    return 1 + (law(fusion_layer, rho, u0) - 1) * (4 + 2 * rho) / 3


@lru_cache(maxsize=16)
def aligned_ratios(fusion_layer: int, rhos: tuple[float, ...], u0: float) -> tuple[float, ...]:
    """t_B/t_A of aligned balanced networks of depth 4 and width 2 under gradient flow, κ = 2; nothing in it is random."""
    moments = scalar_moments(2.0, torch.tensor(rhos, dtype=torch.float64))
    net = FusionNet(4, fusion_layer, 2, (1, 1))
    times = flow(net, moments, net.aligned(u0, moments), marks=plateaus(moments), tolerance=1e-5).times
    return tuple((times[..., 1] / times[..., 0]).tolist())


@final
@dataclass(frozen=True)
class IntermediateRatio(Claim[DeepLinear]):
    r"""Depth 4 fused at layer 2 or 3, u₀ = 0.03: the excess t_B/t_A − 1 is that of (5.2), (5.3) within an eighth.

    Both sides are logarithms of the excess, which is stricter than 5 % of a ratio that is itself near 1.
    """

    formula: Law = law

    def analytic(self, world: DeepLinear) -> Sides:
        return {case: Interval.exact(math.log(self.formula(*dials, SMALL) - 1), 1e-9) for case, dials in CASES.items()}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        found = [r for f in LAYERS for r in aligned_ratios(f, RHOS, SMALL)]
        return {case: Interval.exact(math.log(r - 1), 1e-3) for case, r in zip(CASES, found, strict=True)}

    def controls(self) -> tuple[Control, ...]:
        wrong: dict[str, Law] = {
            "no head start": headless,
            "late fusion's ratio": lambda _f, r, _u: 1 + 3 / (1 - r * r),
            "no 1 − ρ²": lambda f, r, u: 1 + (law(f, r, u) - 1) * (1 - r * r),
        }
        return tuple(Control(n, replace(self, id=f"{self.id}!{n}", formula=f), self.world) for n, f in wrong.items())


@final
@dataclass(frozen=True)
class FusionDepth(Claim[DeepLinear]):
    """At depth 4, u₀ = 0.1, each layer by which fusion is later raises t_B/t_A by at least half of what the law says; L_f = 1 gives 1.

    The case ``one`` is 1.1 − t_B/t_A of early fusion, whose phases are simultaneous up to O(1) in time.
    """

    layers: tuple[int, ...] = (1, 2, 3, 4)

    def analytic(self, world: DeepLinear) -> Sides:
        predicted = [law(f, 0.0, 0.1) for f in (1, 2, 3, 4)]
        gains = {f"{f}→{f + 1}": (predicted[f] - predicted[f - 1]) / 2 for f in (1, 2, 3)}
        return {name: Interval.exact(v, 1e-9) for name, v in {**gains, "one": 0.0}.items()}

    def empirical(self, world: DeepLinear, trial: Trial) -> Sides:
        found = [aligned_ratios(f, (0.0,), 0.1)[0] for f in self.layers]
        gains = {f"{f}→{f + 1}": found[f] - found[f - 1] for f in (1, 2, 3)}
        return {name: Interval.exact(v, 1e-3) for name, v in {**gains, "one": 1.1 - found[0]}.items()}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "twice the law's gains", lambda side: side * 4),
            Control(
                "fusion depths exchanged", replace(self, id=f"{self.id}!exchanged", layers=(4, 3, 2, 1)), self.world
            ),
        )


INTERMEDIATE_RATIO: Claim[Any] = IntermediateRatio(
    id="C5.3",
    source=Source("zhang2024", "time ratio of intermediate fusion", "code"),
    statement="Fused at layer 2 or 3 of 4, the second modality is late by the excess of (5.2), (5.3).",
    world=DeepLinear(depth=4, fusion_layer=3, u0=SMALL),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=0.13,
    unit="networks",
)
FUSION_DEPTH: Claim[Any] = FusionDepth(
    id="C5.4",
    source=Source("zhang2024", "deeper fusion, longer unimodal phase", "code"),
    statement="The time ratio is 1 for early fusion and rises with the fusion layer.",
    world=DeepLinear(depth=4, fusion_layer=4, u0=0.1),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    relation=Relation.AT_LEAST,
    unit="networks",
)
