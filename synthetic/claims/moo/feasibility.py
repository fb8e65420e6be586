"""The MIMO-style penalty: how far from the least worst loss its minimiser is, as λ⁻² and μ ln K."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Self, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import smooth_max
from mmtheory.moo.problems import Quadratics
from mmtheory.stats import Interval, Relation, exponent
from synthetic.worlds import Quad

LAMBDAS = tuple(float(10 ** (k / 3)) for k in range(3, 13))


@final
@dataclass(frozen=True)
class Feasibility(Claim[Quad]):
    r"""The minimiser θ_λ of f₀ + λh_μ, f₀ being the world's first objective and h_μ the smooth maximum of the others.

    .. math:: h(\theta_\lambda) - h^* \le \frac{\ell^2\rho}{\lambda^2}, \qquad
        \max_k f_k(\theta_\lambda) - \min\max \le \frac{\ell^2\rho}{\lambda^2} + \mu\ln K

    ρ = 2/μ_c from strong convexity, ℓ the larger of ‖∇f₀‖ at θ_λ and at the minimiser of h (a convex function of the point). Left: the
    largest ratios over λ; and (s + 2)/0.05 with s the slope of ln gap over ln λ at λ ≥ 100. Right: 1.

    :param power: of λ in the bound; 2 by the theorem.
    :param smoothing: whether μ ln K is granted.
    """

    mu: float = 0.1
    power: float = 2.0
    smoothing: bool = True
    share: float = 1.0

    def analytic(self, world: Quad) -> Sides:
        one = Interval.exact(1.0)
        return {"gap of h": Interval.exact(self.share), "gap of the maximum": one, "exponent": one}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        problem = world.problem
        lams = torch.tensor(LAMBDAS, dtype=torch.float64)
        pure = torch.tensor([0.0, 1.0], dtype=torch.float64)
        bottom = self._minimiser(problem, pure[:1], pure[1:])
        theta = self._minimiser(problem, torch.ones_like(lams), lams, start=bottom.expand(len(lams), -1))
        h = [smooth_max(problem.values(x)[..., 1:], self.mu) for x in (theta, bottom)]
        gap = h[0] - h[1]
        steep = torch.maximum(problem.jacobian(theta)[:, 0].norm(dim=-1), problem.jacobian(bottom)[:, 0].norm(dim=-1))
        growth = 2 / torch.linalg.eigvalsh(problem.hessians[1:])[:, 0].amin()
        bound = steep**2 * growth / lams**self.power
        worst = problem.values(theta)[:, 1:].amax(-1) - self._least_worst(problem)
        granted = self.mu * math.log(world.problem.objectives - 1) if self.smoothing else 0.0
        fit = exponent(lams[lams >= 99], gap[lams >= 99], alpha=1e-3).middle
        return {
            "gap of h": Interval.exact(float((gap / bound).amax())),
            "gap of the maximum": Interval.exact(float((worst / (bound + granted)).amax())),
            "exponent": Interval.exact((fit + self.power) / 0.05),
        }

    def _minimiser(self, problem: Quadratics, first: Tensor, lam: Tensor, start: Tensor | None = None) -> Tensor:
        """argmin of first·f₀ + λh for each λ, by Newton's method with the best of 31 step lengths."""
        x = torch.zeros(len(lam), problem.dim, dtype=torch.float64) if start is None else start
        lengths = 2.0 ** -torch.arange(31, dtype=torch.float64)
        for _ in range(60):
            f, rows = problem.values(x), problem.jacobian(x)
            p = torch.softmax(f[:, 1:] / self.mu, -1)
            mean = (p[..., None] * rows[:, 1:]).sum(-2)
            bend = (p[..., None, None] * problem.hessians[1:]).sum(-3)
            bend = bend + (rows[:, 1:].mT * p[:, None] @ rows[:, 1:] - mean[:, :, None] * mean[:, None]) / self.mu
            slope = first[:, None] * rows[:, 0] + lam[:, None] * mean
            move = torch.linalg.solve(first[:, None, None] * problem.hessians[0] + lam[:, None, None] * bend, slope)
            tried = x - lengths[:, None, None] * move
            value = problem.values(tried)
            total = first * value[..., 0] + lam * smooth_max(value[..., 1:], self.mu)
            # Ties within rounding go to the full step, which is Newton's own near the end.
            best = (total <= total.amin(0) + 1e-14 * total.amin(0).abs()).double().argmax(0)
            x = tried.gather(0, best[None, :, None].expand(1, -1, x.shape[-1]))[0]
        return x

    def _least_worst(self, problem: Quadratics) -> float:
        """min max(f₁, f₂) by bisection of the dual."""
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            f = problem.values(problem.pareto_point(torch.tensor([0.0, middle, 1 - middle], dtype=torch.float64)))
            low, high = (middle, high) if float(f[1]) > float(f[2]) else (low, middle)
        f = problem.values(problem.pareto_point(torch.tensor([0.0, (low + high) / 2, 1 - (low + high) / 2]).double()))
        return float(f[1:].amin())

    def tightened(self, factor: float) -> Self:
        return replace(self, id=f"{self.id}!{factor:g}", share=self.share * factor)

    def controls(self) -> tuple[Control, ...]:
        cube = replace(self, id=f"{self.id}!cube", power=3.0)
        sharp = replace(self, id=f"{self.id}!sharp", smoothing=False)
        return (Control("a gap of λ⁻³", cube, self.world), Control("no price for the smoothing", sharp, self.world))


FEASIBILITY: Claim[Any] = Feasibility(
    id="moo/feasibility",
    source=Source("moo", "moo.md §1.3: feasibility gap", "derived here"),
    statement="The MIMO-style minimiser misses the least smooth maximum by at most ℓ²ρ/λ², and the least worst loss by μ ln K more.",
    world=Quad(norms=(1.0, 0.5, 0.8), cosine=-0.3, condition=3.0),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    relation=Relation.AT_MOST,
    margin=1e-6,
    unit="penalties",
)
