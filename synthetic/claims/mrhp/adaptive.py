"""R5.1 and R5.2: what the adaptive weights do to the gradient, and what a positive among the negatives does to the optimum."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.models.contrastive import adaptive_contrastive
from mmtheory.stats import Interval
from synthetic.worlds import SelectionGaussian

MARGIN = 0.25


@final
@dataclass(frozen=True)
class AdaptiveWeights(Claim[SelectionGaussian]):
    r"""A negative's gradient stands to the positive's as its share of the log-sum times a_n/a_p, and the boundary is a circle.

    .. math:: \frac{\partial\ell/\partial s_{n}}{-\partial\ell/\partial s_p} = \pi_n\,\frac{(s_n+m)_+}{(1+m-s_p)_+}, \qquad
        \ell = \ln 2 \iff s_n^2 + (s_p-1)^2 = 2m^2 \text{ (one negative)}

    Cases: the largest discrepancies, over similarities of samples of the world's views and over the circle.

    :param constant: whether the analytic weights are one, as in InfoNCE.
    """

    constant: bool = False
    sharpness: float = 8.0

    def analytic(self, world: SelectionGaussian) -> Sides:
        return {"gradients": Interval.exact(0.0), "loss on the circle": Interval.exact(0.0)}

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        batch = world.sample(16 * trial.n, stream=trial.stream.child("sample"))
        one, other = (torch.nn.functional.normalize(x, dim=-1).reshape(trial.n, 16, -1) for x in batch.x.values())
        s = (one @ other.mT).requires_grad_()
        loss = adaptive_contrastive(s, margin=MARGIN, sharpness=self.sharpness)
        (gradient,) = torch.autograd.grad(loss.sum(), s)
        found, want = _ratios(gradient), self._stated(s.detach())
        angle = torch.linspace(0, math.pi / 2, 50, dtype=torch.float64)
        radius = math.sqrt(2) * MARGIN
        pair = torch.zeros(50, 2, 2, dtype=torch.float64)
        pair[:, 0, 0] = pair[:, 1, 1] = 1 - radius * torch.cos(angle)
        pair[:, 0, 1] = pair[:, 1, 0] = radius * torch.sin(angle)
        off = adaptive_contrastive(pair, margin=MARGIN, sharpness=self.sharpness) - math.log(2)
        return {
            "gradients": Interval.exact(float((found - want).abs().max())),
            "loss on the circle": Interval.exact(float(off.abs().max())),
        }

    def _stated(self, s: Tensor) -> Tensor:
        """The ratios the formula states, [sets, n, n], zero on the diagonal."""
        near = (1 + MARGIN - s.diagonal(dim1=-2, dim2=-1)).clamp(min=0)[..., None]
        far = (s + MARGIN).clamp(min=0)
        own = torch.eye(s.shape[-1], dtype=torch.bool)
        share = (self.sharpness * far * (s - MARGIN)).masked_fill(own, -torch.inf).softmax(-1)
        return share if self.constant else share * far / near

    def controls(self) -> tuple[Control, ...]:
        flat = replace(self, id=f"{self.id}!flat", constant=True)
        return (Control("constant weights", flat, self.world),)


def _ratios(gradient: Tensor) -> Tensor:
    """Each negative's gradient over minus the positive's, zero on the diagonal."""
    positive = -gradient.diagonal(dim1=-2, dim2=-1)[..., None]
    own = torch.eye(gradient.shape[-1], dtype=torch.bool)
    return (gradient / positive).masked_fill(own, 0.0)


@final
@dataclass(frozen=True)
class KeptDiagonal(Claim[SelectionGaussian]):
    r"""With the positive kept among the K negatives (at similarity zero) training stops where

    .. math:: \pi(s)\,(s+m)_+ = 1 + m - s, \qquad \pi(s) = \frac{e^{\gamma(s+m)_+(s-m)}}{e^{\gamma(s+m)_+(s-m)} + K e^{-\gamma m^2}}

    which is one half to all digits for the released γ = 256; without it s rises to one (slowly for large γ, whose loss is satisfied on
    the circle already, s = 1 − √2 m). Left: gradient descent on the similarity of the pairs, clipped to [−1, 1] as a cosine is, from
    random starts, between the ends furthest apart.

    :param ignored: whether the analytic side ignores the diagonal.
    """

    sharpness: tuple[float, ...] = (4.0, 16.0, 256.0)
    negatives: int = 7
    ignored: bool = False

    def analytic(self, world: SelectionGaussian) -> Sides:
        stop = {g: 1.0 if self.ignored else self._balance(g) for g in self.sharpness}
        sides = {f"kept, γ={g:g}": Interval.exact(s, 1e-12) for g, s in stop.items()}
        return {**sides, f"left out, γ={self.sharpness[0]:g}": Interval.exact(1.0)}

    def _balance(self, sharpness: float) -> float:
        """Where both pulls on the positive are equal, by bisection of their increasing difference."""
        low, high = 0.0, 1 + MARGIN
        for _ in range(80):
            s = (low + high) / 2
            against = math.log(self.negatives) - sharpness * MARGIN**2 - sharpness * (s + MARGIN) * (s - MARGIN)
            share = 1 / (1 + math.exp(min(against, 700.0)))
            low, high = (low, s) if share * (s + MARGIN) > 1 + MARGIN - s else (s, high)
        return min(low, 1.0)

    def empirical(self, world: SelectionGaussian, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        start = trial.stream.draws().uniform("start", trial.n)
        for sharpness in self.sharpness:
            sides[f"kept, γ={sharpness:g}"] = _ends(self._descend(start, sharpness, keep=True))
        sides[f"left out, γ={self.sharpness[0]:g}"] = _ends(self._descend(start, self.sharpness[0], keep=False))
        return sides

    def _descend(self, start: Tensor, sharpness: float, *, keep: bool) -> Tensor:
        """The pairs' similarity after many small steps."""
        s, eye = start.clone(), torch.eye(self.negatives + 1, dtype=torch.float64)
        for step in range(400):
            live = s.clone().requires_grad_()
            loss = adaptive_contrastive(
                live[:, None, None] * eye, margin=MARGIN, sharpness=sharpness, keep_diagonal=keep
            )
            (slope,) = torch.autograd.grad(loss.sum(), live)
            s = (s - 0.8 * 0.985**step / sharpness * slope).clamp(-1, 1)
        return s

    def controls(self) -> tuple[Control, ...]:
        blind = replace(self, id=f"{self.id}!blind", ignored=True)
        return (Control("the diagonal makes no difference", blind, self.world),)


def _ends(found: Tensor) -> Interval:
    """From the least to the greatest end point."""
    return Interval(float(found.min()), float(found.max()))


ADAPTIVE_WEIGHTS: Claim[Any] = AdaptiveWeights(
    id="R5.1",
    source=Source("mrhp", "adaptive weights of the contrastive loss, as released", "derived here"),
    statement="Gradients of negatives and positive stand as share times a_n to a_p; with one negative the decision boundary is a circle.",
    world=SelectionGaussian(),
    budgets={"small": Budget(20, 20), "full": Budget(500, 500)},
    margin=1e-8,
    unit="batches of 16 pairs",
)

KEPT_DIAGONAL: Claim[Any] = KeptDiagonal(
    id="R5.2",
    source=Source("mrhp", "the positive among the negatives in the released loss", "derived here"),
    statement="With the positive kept among the negatives training stops at a similarity of one half, not one.",
    world=SelectionGaussian(),
    budgets={"small": Budget(10, 10), "full": Budget(100, 100)},
    margin=0.01,
    unit="starts",
)
