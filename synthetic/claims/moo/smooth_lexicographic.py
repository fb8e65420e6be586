"""The MIMO-style objective: its smoothness constant, the rate that follows, and what its stationarity says about Pareto's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch
from torch import Tensor

from mmtheory.claims import Claim, Control, Sides, Source, Trial
from mmtheory.moo import MGDA, SmoothLexicographic, gramian, smooth_max
from mmtheory.moo.problems import LogisticPair
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad

from ._runs import EXACT, most

SEEN = 1e-8


@final
@dataclass(frozen=True)
class SmoothLexicographicRate(Claim[Quad]):
    r"""Five ratios that are at most 1, on logistic losses f₀ (fused), f₁, f₂ of random points.

    .. math:: \frac{\|\nabla\Phi(x) - \nabla\Phi(y)\|}{L_\Phi\|x - y\|}, \quad L_\Phi = L_0 + \lambda\Bigl(L + \frac{D^2}{4\mu}\Bigr); \qquad
        \frac{T \min_{t<T}\|\nabla\Phi\|^2}{2 L_\Phi (\Phi_0 - \inf\Phi)}; \qquad \frac{(1 + \lambda)\|d_{\mathrm{MGDA}}\|}{\|\nabla\Phi\|}; \qquad
        1 + \frac{\max f - h_\mu}{\mu\ln K}; \qquad \frac{h_\mu - \max f}{\mu \ln K}

    Two logistic losses of the same points differ by a linear function, so D is known exactly; half of the points x are put where the two
    are equal, and y is near x along the gradients' difference: there the constant is nearly attained.

    :param curvature: factor of D²/(4μ); 0 forgets the softmax's own curvature.
    :param share: part of the smoothness constant that is claimed.
    """

    lam: float = 3.0
    mus: tuple[float, ...] = (1.0, 0.05)
    curvature: float = 1.0
    share: float = 1.0
    steps: int = 25

    def analytic(self, world: Quad) -> Sides:
        one = Interval.exact(1.0)
        rest = dict.fromkeys(("rate", "Pareto stationarity", "above the maximum", "below the maximum plus mu ln K"), one)  # fmt: skip
        return {
            f"mu={mu:g}, {case}": side
            for mu in self.mus
            for case, side in {"smoothness": Interval.exact(self.share), **rest}.items()
        }

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem = LogisticPair.drawn(trial.stream.child("problem").draws(range(trial.n)), 3, world.dim)
        draws = trial.stream.child("start").draws(range(trial.n))
        x = 2 * draws.normal("x", world.dim)
        across = (problem.labels[:, 2] - problem.labels[:, 1])[..., None, :] @ problem.points / 2 / problem.points.shape[-2]  # fmt: skip
        apart = across[..., 0, :]
        spread = apart.norm(dim=-1)
        x[::2] -= (x * apart).sum(-1, keepdim=True)[::2] / (spread**2)[::2, None] * apart[::2]
        sides: dict[str, Interval] = {}
        for mu in self.mus:
            for case, ratio in self._ratios(problem, x, apart, spread, mu).items():
                sides[f"mu={mu:g}, {case}"] = most(ratio, ratio.isfinite())
        return sides

    def _ratios(self, problem: LogisticPair, x: Tensor, apart: Tensor, spread: Tensor, mu: float) -> dict[str, Tensor]:
        """Each of the five ratios, of every replicate."""
        method = SmoothLexicographic(self.lam, mu)
        L = problem.smoothness
        bound = L + self.lam * (L + self.curvature * spread**2 / (4 * mu))
        y = x + 1e-4 * apart / spread[:, None]
        quotient = (self._slope(problem, method, x) - self._slope(problem, method, y)).norm(dim=-1) / 1e-4
        f = problem.values(x)
        top, smooth, unit = f[:, 1:].amax(-1), smooth_max(f[:, 1:], mu), mu * math.log(2)
        # inf Φ is at least inf f₀ + λ max_k inf f_k, because h exceeds every f_k.
        fall = method.objective(f) - problem.infima[:, 0] - self.lam * problem.infima[:, 1:].amax(-1)
        at, lengths, shortest = x, list[Tensor](), list[Tensor]()
        for _ in range(self.steps):
            slope = self._slope(problem, method, at)
            G = gramian(problem.jacobian(at))
            w = MGDA().solve(G)
            shortest.append((w * (G @ w[..., None])[..., 0]).sum(-1).clamp(min=0).sqrt())
            lengths.append((slope**2).sum(-1))
            at = at - slope / bound[:, None]
        squared = torch.stack(lengths)
        count = torch.arange(1, self.steps + 1, dtype=torch.float64)[:, None]
        return {
            "smoothness": quotient / bound,
            "rate": count * squared.cummin(0).values / (2 * bound * fall),
            # A length whose square is below what the Gramian resolves says nothing.
            "Pareto stationarity": torch.where(
                squared > SEEN, (1 + self.lam) * torch.stack(shortest) / squared.sqrt(), 0.0
            ),
            "above the maximum": 1 + (top - smooth) / unit,
            "below the maximum plus mu ln K": (smooth - top) / unit,
        }

    def _slope(self, problem: LogisticPair, method: SmoothLexicographic, x: Tensor) -> Tensor:
        """∇Φ."""
        return (method.weights(problem.values(x))[..., None] * problem.jacobian(x)).sum(-2)

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor)

    def controls(self) -> tuple[Control, ...]:
        flat = replace(self, id=f"{self.id}!flat", curvature=0.0, mus=(0.01,))
        third = replace(self, id=f"{self.id}!third", curvature=1 / 3, mus=(0.01,))
        return (
            Control("the softmax's curvature forgotten", flat, self.world),
            Control("D²/(12μ) in place of D²/(4μ)", third, self.world),
        )


SMOOTH_LEXICOGRAPHIC: Claim[Any] = SmoothLexicographicRate(
    id="moo/mimo",
    source=Source(
        "moo", "moo.md §1.3: smoothness, rate and Pareto measure of the MIMO-style objective", "derived here"
    ),
    statement="The MIMO-style objective is (L₀ + λ(L + D²/4μ))-smooth, descends at that rate, and is stationary only near Pareto stationarity.",
    world=Quad(dim=4),
    budgets=EXACT,
    relation=Relation.AT_MOST,
    margin=1e-6,
    unit="replicates",
)
