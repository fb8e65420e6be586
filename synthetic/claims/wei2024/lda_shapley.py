"""C8.3: the sample-level valuation of modalities, averaged over a data set, in closed form for Gaussian classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianDiscriminant


@final
@dataclass(frozen=True)
class LdaShapley(Claim[GaussianDiscriminant]):
    r"""In the game v(C) = |C| if the prediction from C is right, else 0, the mean Shapley values follow from three accuracies.

    .. math:: \bar\varphi_a = \tfrac12(P_a + 2P_{ab} - P_b), \qquad P_S = \Phi(D_S), \qquad \bar\varphi_a \text{ rises with } D_a

    Cases: both values at each squared separation of ``a`` on a grid, which lie further apart than the margin. The empirical side plays the
    game sample by sample with the Bayes classifiers.

    :param grid: squared separations of ``a``.
    :param game: ``indicator`` is the other game in use, v(C) = 1[right]; ``uncorrelated`` adds separations whatever ρ; for the controls.
    """

    grid: tuple[float, ...] = (0.16, 0.64, 1.96)
    game: Literal["counted", "indicator", "uncorrelated"] = "counted"

    def broken_assumptions(self, world: GaussianDiscriminant) -> tuple[str, ...]:
        good = world.classes == 2 and len(world.d2) == 2
        return () if good else (f"two classes and two modalities, found {world.classes} and {len(world.d2)}",)

    def analytic(self, world: GaussianDiscriminant) -> Sides:
        sides: dict[str, Interval] = {}
        for d2 in self.grid:
            here = replace(world, d2=(d2, world.d2[1]))
            both = here if self.game != "uncorrelated" else replace(here, rho=0.0)
            right = {
                s: 1 - judged.known("bayes_risk", s).middle for s, judged in (("a", here), ("b", here), ("ab", both))
            }
            value = 1.0 if self.game == "indicator" else 2.0
            sides[f"φ_a at d2={d2}"] = Interval.exact(0.5 * (right["a"] + value * right["ab"] - right["b"]), 1e-12)
            sides[f"φ_b at d2={d2}"] = Interval.exact(0.5 * (right["b"] + value * right["ab"] - right["a"]), 1e-12)
        return sides

    def empirical(self, world: GaussianDiscriminant, trial: Trial) -> Sides:
        alpha = trial.alpha / (2 * len(self.grid))
        sides: dict[str, Interval] = {}
        for k, d2 in enumerate(self.grid):
            here = replace(world, d2=(d2, world.d2[1]))
            batch = here.sample(trial.n, stream=trial.stream.child(k), device=trial.device)
            right = {
                s: ((batch.only(s).stacked() @ here.direction(s) > 0) == (batch.y == 1)).double()
                for s in ("a", "b", "ab")
            }
            a, b = right["a"], right["b"]
            sides[f"φ_a at d2={d2}"] = student(0.5 * (a + 2 * right["ab"] - b), alpha=alpha)
            sides[f"φ_b at d2={d2}"] = student(0.5 * (b + 2 * right["ab"] - a), alpha=alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("the other game, v = 1[right]", replace(self, id="C8.3!indicator", game="indicator"), self.world),
            Control(
                "separations added in spite of ρ",
                replace(self, id="C8.3!uncorrelated", game="uncorrelated"),
                self.world,
            ),
        )


LDA_SHAPLEY: Claim[Any] = LdaShapley(
    id="C8.3",
    source=Source("wei2024", "the sample-level game, its data-set mean for Gaussian classes", "derived here"),
    statement="The mean sample-level Shapley value is φ_a = ½(P_a + 2P_ab − P_b) with P_S = Φ(D_S), and rises with D_a.",
    world=GaussianDiscriminant(d2=(0.64, 0.36), rho=0.4),
    budgets={"small": Budget(150_000, 1_200_000), "full": Budget(1_200_000, 4_800_000)},
    margin=0.01,
)
