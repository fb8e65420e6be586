"""Scalarisations on a concave front, and the smooth lexicographic solution of losses that share nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import smooth_max
from mmtheory.moo.problems import VLMOP2, LinearMultimodal
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

Scalarisation = Literal["linear", "stch"]


@final
@dataclass(frozen=True)
class ConcaveFront(Claim[Quad]):
    r"""Where descent ends on VLMOP2, in units in which the Pareto set is [−1, 1], for preferences all over the simplex.

    .. math:: \frac{p_1}{p_2} = \frac{1+s}{1-s}\,e^{-4s} \text{ at stationary points}, \qquad \text{a minimum only where } s^2 \ge \tfrac12

    ``linear``: minus the least |s| of any end point. ``stch``: the widest hole in [−0.8, 0.8] between neighbouring end points of the smooth
    Tchebycheff scalarisation, which has minima everywhere.

    :param swapped: linear scalarisation in the place of the smooth Tchebycheff one.
    """

    mu: float = 0.02
    swapped: bool = False
    points: int = 33
    steps: int = 400

    def analytic(self, world: Quad) -> Sides:
        return {
            "linear stays out of the middle": Interval.exact(-math.sqrt(0.5)),
            "stch leaves no hole": Interval.exact(0.2),
        }

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem = VLMOP2()
        start = 0.5 * trial.stream.draws(range(trial.n)).normal("x", problem.dim)
        linear = self._ends(problem, "linear", start)
        smooth = self._ends(problem, "linear" if self.swapped else "stch", start)
        inside = torch.cat((smooth.flatten().clamp(-0.8, 0.8), torch.tensor([-0.8, 0.8], dtype=torch.float64))).sort().values  # fmt: skip
        return {
            "linear stays out of the middle": Interval.exact(-float(linear.abs().amin())),
            "stch leaves no hole": Interval.exact(float(inside.diff().amax())),
        }

    def _ends(self, problem: VLMOP2, kind: Scalarisation, start: Tensor) -> Tensor:
        """Place on the segment of the last point, ``[starts, preferences]``."""
        share = torch.linspace(0.05, 0.95, self.points, dtype=torch.float64)
        p = torch.stack((share, 1 - share), -1)
        x = start[:, None].expand(-1, self.points, -1)
        # The two gradients differ by at most 2·√(2/e): the smooth maximum's own curvature on top of the bells'.
        rate = 0.5 if kind == "linear" else 1 / (2 + 8 / math.e / (4 * self.mu))
        for _ in range(self.steps):
            f = problem.values(x)
            w = p if kind == "linear" else p * torch.softmax(p * f / self.mu, -1)
            x = x - rate * (w[..., None] * problem.jacobian(x)).sum(-2)
        return x.mean(-1) * math.sqrt(problem.dim)

    def controls(self) -> tuple[Control, ...]:
        swapped = replace(self, id=f"{self.id}!swapped", swapped=True)
        return (Control("linear scalarisation reaches the middle", swapped, self.world),)


@final
@dataclass(frozen=True)
class Separable(Claim[Quad]):
    r"""Minimising the smooth maximum of uni-modal losses alone: the distance from every modality's own least squares.

    .. math:: f_k = f_k(\theta_k) \;\Rightarrow\; \arg\min_\theta h_\mu(\theta) = \prod_k \arg\min_{\theta_k} f_k \quad \text{for every } \mu

    Left: the largest distance after Newton's method. Right: 0. Where heads share weights it is false, which the control shows.

    :param coupled: one common vector of weights for both modalities (the world's objectives).
    """

    mus: tuple[float, ...] = (10.0, 1.0, 0.5)
    coupled: bool = False
    steps: int = 15

    def analytic(self, world: Quad) -> Sides:
        return {f"mu={mu:g}": Interval.exact(0.0) for mu in self.mus}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        draws = trial.stream.child("problem").draws(range(trial.n))
        apart = _apart(LinearMultimodal.drawn(draws))
        problem, first = (world.problem, 0) if self.coupled else (apart, 1)
        start = 0.5 * trial.stream.child("start").draws(range(trial.n)).normal("x", problem.dim)
        own = problem.centres[..., first:, :]
        reach = torch.ones_like(own, dtype=torch.bool) if self.coupled else apart.masks[1:]
        sides: dict[str, Interval] = {}
        for mu in self.mus:
            x = start
            for _ in range(self.steps):
                f, rows = problem.values(x)[..., first:], problem.jacobian(x)[..., first:, :]
                p = torch.softmax(f / mu, -1)
                slope = (p[..., None] * rows).sum(-2)
                bend = (p[..., None, None] * problem.hessians[..., first:, :, :]).sum(-3)
                bend = bend + (rows.mT * p[..., None, :] @ rows - slope[..., :, None] * slope[..., None, :]) / mu
                idle = torch.diag_embed((bend.diagonal(dim1=-2, dim2=-1) == 0).double())
                move = torch.linalg.solve(bend + idle, slope)
                x = _best(lambda z, mu=mu: smooth_max(problem.values(z)[..., first:], mu), x, move)
            off = torch.where(reach, x[..., None, :] - own, 0.0).norm(dim=-1)
            sides[f"mu={mu:g}"] = Interval.exact(float(off.amax()))
        return sides

    def controls(self) -> tuple[Control, ...]:
        coupled = replace(self, id=f"{self.id}!coupled", coupled=True)
        return (Control("one vector of weights for both modalities", coupled, self.world),)


def _apart(shared: LinearMultimodal) -> LinearMultimodal:
    """The same regression with heads of their own for the uni-modal losses."""
    return replace(shared, shared=False)


def _best(value: Callable[[Tensor], Tensor], x: Tensor, move: Tensor) -> Tensor:
    """x less the best of 1, ½, ¼, … and 0 times the move; ties within rounding go to the longest."""
    lengths = torch.cat((2.0 ** -torch.arange(20, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)))
    tried = x - lengths.reshape(-1, *(1 for _ in x.shape)) * move
    found = value(tried)
    best = (found <= found.amin(0) + 1e-14 * found.amin(0).abs()).double().argmax(0)
    return tried.gather(0, best[None, ..., None].expand(1, *x.shape))[0]


CONCAVE_FRONT: Claim[Any] = ConcaveFront(
    id="moo/front",
    source=Source("moo", "moo.md §7, P6: a concave front", "known"),
    statement="On a concave front linear scalarisation has no minimum in the middle (s² < ½); the smooth Tchebycheff scalarisation reaches all of it.",
    world=Quad(),
    budgets={"small": Budget(4, 4), "full": Budget(64, 64)},
    relation=Relation.AT_MOST,
    unit="starts",
)
SEPARABLE: Claim[Any] = Separable(
    id="moo/separable",
    source=Source("moo", "moo.md §1.3: separable encoders", "derived here"),
    statement="Where uni-modal losses share no parameter, every smooth maximum of them has the same minimisers: each modality's own.",
    world=Quad(norms=(1.0, 0.5), cosine=-0.3, condition=3.0),
    budgets={"small": Budget(8, 8), "full": Budget(64, 64)},
    margin=1e-6,
    unit="replicates",
)
