"""C2.6 and C2.8: which expert logistic regression finds on selected data, alone and jointly."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.bounds import logistic_regression
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import anova
from mmtheory.stats import Interval, student
from synthetic.worlds import SelectionGaussian


@final
@dataclass(frozen=True)
class ColliderBias(Claim[SelectionGaussian]):
    r"""Logistic regression of the label on one view of selected data.

    .. math:: \hat w \to 2\kappa_1\mu \;(\text{selection by the label}), \qquad
        2\kappa_1\mu + \tfrac{2\lambda}{1+\lambda}\kappa_2 R\nu \;(\text{collider})

    Cases are the weights along μ and along Rν, both ways. The true expert is 2κ₁μ in either case. The fits have O(1/n) bias of their
    own, well inside the margin.
    """

    size: int = 2000
    ignore_collider: bool = False

    def analytic(self, world: SelectionGaussian) -> Sides:
        bias = 0.0 if self.ignore_collider else 2 * world.lam / (1 + world.lam) * world.kappa[1]
        own = Interval.exact(2 * world.kappa[0])
        return {
            "selected along mu": own,
            "selected along R nu": Interval.exact(0.0),
            "collider along mu": own,
            "collider along R nu": Interval.exact(bias),
        }

    def broken_assumptions(self, world: SelectionGaussian) -> tuple[str, ...]:
        return () if world.alignment == 0 else (f"the cases need alignment 0, found {world.alignment}",)

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for kind, collider in (("selected", False), ("collider", True)):
            place = replace(world, collider=collider)
            slopes: list[Tensor] = []
            for part in _chunks(trial.n, self.size):
                batch = place.sample(self.size, stream=trial.stream.child(kind), replicates=part, device=trial.device)
                x = torch.cat([batch.x["a"], torch.ones_like(batch.x["a"][..., :1])], -1)
                slopes.append(logistic_regression(x, batch.y).weights[..., :-1])
            slope = torch.cat(slopes)
            mu, nu = place.directions
            for name, axis in (("mu", mu), ("R nu", place.rotation @ nu)):
                sides[f"{kind} along {name}"] = student(slope @ axis.to(slope), alpha=trial.alpha / 4)
        return sides

    def controls(self) -> tuple[Control, ...]:
        blind = replace(
            self, id=f"{self.id}!unbiased", statement=f"control (no bias): {self.statement}", ignore_collider=True
        )
        return (
            Control("a collider does not bias", blind, self.world),
            misstated(self, "a tenth less", lambda side: side * 0.9),
        )


@final
@dataclass(frozen=True)
class CentredExperts(Claim[SelectionGaussian]):
    r"""The experts of a fitted additive-logit model, after centring under N(0, I) × N(0, I).

    .. math:: f + g + h \;\mapsto\; 2\kappa_1\mu^\top a, \quad 2\kappa_2\nu^\top b, \quad 2\lambda a^\top Rb

    The interaction h may absorb any part of f and g without moving the prediction: here each replicate's h carries a random part of the
    main effects, as over-parametrised experts do. The parts are read off a grid of Gauss–Hermite points along μ (for a) and along Rν or μ
    (for b) by the functional analysis of variance; ``centre=False`` reads the experts as they stand.
    """

    size: int = 8000
    centre: bool = True

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {
            "a": Interval.exact(2 * world.kappa[0]),
            "b": Interval.exact(2 * world.kappa[1]),
            "inter": Interval.exact(2 * world.lam),
        }

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        fits: list[Tensor] = []
        for part in _chunks(trial.n, self.size):
            batch = world.sample(self.size, stream=trial.stream.child("fit"), replicates=part, device=trial.device)
            a, b = batch.x["a"], batch.x["b"]
            products = (a[..., :, None] * b[..., None, :]).flatten(-2)
            fits.append(
                logistic_regression(torch.cat([a, b, products, torch.ones_like(a[..., :1])], -1), batch.y).weights
            )
        fit = torch.cat(fits)
        shares = trial.stream.child("share").draws(range(trial.n), device=trial.device).uniform("share", 2)
        slopes = self._read(world, fit, shares)
        return {c: student(v, alpha=trial.alpha / 3) for c, v in slopes.items()}

    def _read(self, world: SelectionGaussian, fit: Tensor, shares: Tensor) -> dict[str, Tensor]:
        """Slopes of the experts on the grid of points t·μ × s·(the direction each case looks along)."""
        d = world.dim
        one, two, bilinear = fit[:, :d], fit[:, d : 2 * d], fit[:, 2 * d : -1].reshape(-1, d, d)
        mu, nu = (v.to(fit) for v in world.directions)
        matched = world.rotation.T.to(fit) @ mu  # the direction in b that R turns onto μ
        point, weight = _hermite(fit)
        slopes: dict[str, Tensor] = {}
        for case, direction in (("a", nu), ("b", nu), ("inter", matched)):
            f = (one @ mu)[:, None] * point
            g = (two @ direction)[:, None] * point
            inner = ((bilinear @ direction) @ mu)[:, None, None] * point[:, None] * point
            h = inner + shares[:, :1, None] * f[:, :, None] + shares[:, 1:, None] * g[:, None, :]
            f, g = (1 - shares[:, :1]) * f, (1 - shares[:, 1:]) * g
            if self.centre:
                parts = anova(f[:, :, None] + g[:, None, :] + h, (weight, weight))
                f, g, h = parts[0,][..., 0], parts[1,][..., 0, :], parts[0, 1]
            product = point[:, None] * point
            read = {
                "a": (weight * point * f).sum(-1),
                "b": (weight * point * g).sum(-1),
                "inter": (weight[:, None] * weight * product * h).sum((-2, -1)),
            }
            slopes[case] = read[case]
        return slopes

    def controls(self) -> tuple[Control, ...]:
        raw = replace(self, id=f"{self.id}!raw", statement=f"control (not centred): {self.statement}", centre=False)
        return (
            Control("experts as they stand", raw, self.world),
            misstated(self, "ten per cent less", lambda side: side * 0.9),
        )


def _chunks(replicates: int, size: int) -> Iterator[range]:
    """Replicates in ranges of about a hundred thousand samples."""
    step = max(1, 100_000 // size)
    return (range(start, min(start + step, replicates)) for start in range(0, replicates, step))


def _hermite(like: Tensor) -> tuple[Tensor, Tensor]:
    """Three points and weights exact for a standard normal's moments up to the fifth."""
    point = torch.tensor([-math.sqrt(3), 0.0, math.sqrt(3)], dtype=like.dtype, device=like.device)
    return point, torch.tensor([1 / 6, 2 / 3, 1 / 6], dtype=like.dtype, device=like.device)


COLLIDER_BIAS: Claim[Any] = ColliderBias(
    id="C2.6",
    source=Source("madaan2024", "pre-training of unimodal experts on selected data", "derived here"),
    statement="Unimodal pre-training finds the expert when selection reads the label, and is biased by 2λκ₂/(1+λ)·Rν when it does not.",
    world=SelectionGaussian(),
    budgets={"small": Budget(128, 512), "full": Budget(512, 2048)},
    margin=0.05,
    unit="fits",
)

CENTRED_EXPERTS: Claim[Any] = CentredExperts(
    id="C2.8",
    source=Source("madaan2024", "identifiability of the experts", "derived here"),
    statement="The experts are identified after centring under a product measure, and only then: they are the three terms of the posterior.",
    world=SelectionGaussian(kappa=(0.7, 0.4), lam=0.5, dim=2),
    budgets={"small": Budget(32, 128), "full": Budget(128, 512)},
    margin=0.06,
    unit="fits",
)
