"""C2.3 and C2.4: what an intra-only and a pure-inter predictor lose, as the dials of the selection world move."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.bounds import logistic_regression
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.worlds import SelectionGaussian


@final
@dataclass(frozen=True)
class IntraGap(Claim[SelectionGaussian]):
    r"""At κ = 0 the best additive log-odds loses all the information there is; at λ = 0 it loses nothing.

    .. math:: \min_{f,g} \mathrm{CE}(f(a)+g(b)) - H(y|a,b) = I(y;a,b) \;(\kappa = 0), \qquad = 0 \;(\lambda = 0)

    The minimum is over all functions, so an additive logistic regression on linear and quadratic features, fitted here and tried on fresh
    samples, can only come near it from above. Margin: a tenth of the smallest step of the curve.
    """

    lams: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0)
    size: int = 20_000
    features: Literal["additive", "with product"] = "additive"

    def analytic(self, world: SelectionGaussian) -> Sides:
        sides = {
            f"kappa=0 lam={lam:g}": replace(world, kappa=(0.0, 0.0), lam=lam).known("information", ("a", "b"))
            for lam in self.lams
        }
        return {**sides, "lam=0": Interval.exact(0.0)}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        places = {f"kappa=0 lam={lam:g}": replace(world, kappa=(0.0, 0.0), lam=lam) for lam in self.lams}
        places["lam=0"] = replace(world, lam=0.0)
        alpha = trial.alpha / len(places)
        sides: dict[str, Interval] = {}
        for case, place in places.items():
            train = place.sample(self.size, stream=trial.stream.child("train", case), device=trial.device)
            fresh = place.sample(trial.n, stream=trial.stream.child("fresh", case, trial.n), device=trial.device)
            fit = logistic_regression(self._map(train.x), train.y)
            sign = 2.0 * fresh.y - 1
            lost = softplus(-sign * (self._map(fresh.x) @ fit.weights)) - softplus(
                -sign * _density_ratio(place, fresh.x)
            )
            sides[case] = student(lost, alpha=alpha)
        return sides

    def _map(self, x: Mapping[str, Tensor]) -> Tensor:
        """One, every coordinate and its square; ``with product`` also those of a with b."""
        parts = [torch.ones_like(x["a"][..., :1]), *(f for v in x.values() for f in (v, v**2))]
        if self.features == "with product":
            parts.append((x["a"][..., :, None] * x["b"][..., None, :]).flatten(-2))
        return torch.cat(parts, -1)

    def controls(self) -> tuple[Control, ...]:
        rich = replace(
            self, id=f"{self.id}!inter", statement=f"control (products): {self.statement}", features="with product"
        )
        return (
            Control("a class with products loses nothing", rich, self.world),
            misstated(self, "the loss is half the information", lambda side: side * 0.5),
        )


@final
@dataclass(frozen=True)
class InterGap(Claim[SelectionGaussian]):
    r"""The inter term alone loses nothing at κ = 0 and more the larger κ is.

    .. math:: \mathrm{CE}(2\lambda a^\top Rb) - H(y|a,b) = \tfrac12\sum_s E_s\big[\ln(1+e^{-sL_{\rm inter}}) - \ln(1+e^{-sL})\big]

    The analytic side integrates two noncentral chi-square laws; the empirical side averages over samples.
    """

    steps: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)

    def _places(self, world: SelectionGaussian) -> dict[str, SelectionGaussian]:
        """The world with both κ multiplied."""
        return {f"kappa x{k:g}": replace(world, kappa=(k * world.kappa[0], k * world.kappa[1])) for k in self.steps}

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {c: w.cross_entropy(("inter",)) - w.cross_entropy() for c, w in self._places(world).items()}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for case, place in self._places(world).items():
            batch = place.sample(trial.n, stream=trial.stream.child(case, trial.n), device=trial.device)
            sign = 2.0 * batch.y - 1
            pure = _density_ratio(replace(place, kappa=(0.0, 0.0)), batch.x)
            lost = softplus(-sign * pure) - softplus(-sign * _density_ratio(place, batch.x))
            sides[case] = student(lost, alpha=trial.alpha / len(self.steps))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "nothing is lost", lambda side: side * 0.0),
            misstated(self, "a fifth less is lost", lambda side: side * 0.8),
        )


def _density_ratio(world: SelectionGaussian, x: Mapping[str, Tensor]) -> Tensor:
    """The log-odds from the two classes' precisions and shifts alone."""
    point = torch.cat([x["a"], x["b"]], -1)
    value = torch.zeros(point.shape[:-1], dtype=torch.float64, device=point.device)
    for sign in (1, -1):
        mean, precision = world.moments(sign)[0].to(point), world.precision(sign).to(point)
        centred = point - mean
        quadratic = ((centred @ precision) * centred).sum(-1)
        value = value - sign * (quadratic - torch.linalg.slogdet(precision).logabsdet) / 2
    return value


INTRA_GAP: Claim[Any] = IntraGap(
    id="C2.3",
    source=Source("madaan2024", "intra-only against inter dependence, in our Gaussian family", "derived here"),
    statement="An additive log-odds is Bayes-optimal iff there is no interaction; at κ = 0 it loses I(y; a, b), rising with λ.",
    world=SelectionGaussian(),
    budgets={"small": Budget(60_000, 240_000), "full": Budget(240_000, 960_000)},
    margin=0.012,
)

INTER_GAP: Claim[Any] = InterGap(
    id="C2.4",
    source=Source("madaan2024", "inter-only against intra dependence, in our Gaussian family", "derived here"),
    statement="The interaction term alone is Bayes-optimal iff κ = 0, and its excess loss rises with κ.",
    world=SelectionGaussian(),
    budgets={"small": Budget(60_000, 240_000), "full": Budget(240_000, 960_000)},
    margin=0.01,
)
