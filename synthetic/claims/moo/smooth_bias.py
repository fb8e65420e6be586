"""The MIMO-style gradient of a mini-batch is biased, and at what rate: the softmax of noisy losses is not the losses' softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import SmoothLexicographic
from mmtheory.stats import Interval, student
from synthetic.worlds import Quad

CHUNK = 4000


@final
@dataclass(frozen=True)
class SmoothBias(Claim[Quad]):
    r"""The bias of λΣ p_k ∇f_k along e = ∇f₁ − ∇f₂, all of it from means of b samples: its exponent in b, and b times it.

    .. math:: b\,\mathrm{bias} \to \lambda \sum_k \Bigl[\frac{p_k(1 - p_k)}{\mu}\,\mathrm{Cov}(f_k, \nabla f_k)
        + \frac{1}{2\mu^2}\sum_j p_k\bigl((\delta_{kj} - p_j)^2 - p_j(1 - p_j)\bigr)\mathrm{Var}(f_j)\,\nabla f_k\Bigr]

    In units of λσ²‖e‖/(4μ). A sample moves the centre of every quadratic by N(0, σ²I): Var f = σ²‖g‖² + ½σ⁴tr A² and Cov(f, ∇f) = σ²A g. What is linear in a
    batch's errors has mean zero and is taken off each estimate, which is what makes the bias visible at large b.

    :param believed: ``theory``; ``half`` says b^-½, ``unbiased`` says 0, ``values only`` forgets that gradients and losses share their samples.
    """

    lam: float = 1.0
    mu: float = 2.0
    noise: float = 0.3
    batches: tuple[int, ...] = (4, 16, 64)
    believed: Literal["theory", "half", "unbiased", "values only"] = "theory"

    def analytic(self, world: Quad) -> Sides:
        g, f, p = self._here(world)
        A = world.problem.hessians
        variance = self.noise**2 * (g**2).sum(-1) + self.noise**4 * (A**2).sum((-2, -1)) / 2
        shared = 0.0 if self.believed == "values only" else self.noise**2 * (A @ g[..., None])[..., 0]
        own = torch.eye(len(f), dtype=f.dtype) - p
        curved = p * ((own**2 - p * (1 - p)) * variance).sum(-1) / (2 * self.mu**2)
        bias = ((p * (1 - p) / self.mu)[:, None] * shared + curved[:, None] * g).sum(0)
        across = g[0] - g[1]
        level = 0.0 if self.believed == "unbiased" else float(bias @ across / across.norm()) / self._unit
        exponent = -0.5 if self.believed == "half" else -1.0
        return {"exponent": Interval.exact(exponent), "b times the bias": Interval.exact(level)}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        found = {b: self._bias(world, trial, b, alpha=trial.alpha / (len(self.batches) + 1)) for b in self.batches}
        largest = found[self.batches[-1]]
        return {
            "exponent": _slope(found),
            "b times the bias": Interval(largest.low * self.batches[-1], largest.high * self.batches[-1], alpha=largest.alpha),
        }  # fmt: skip

    @property
    def _unit(self) -> float:
        """σ²/(4μ), where a quarter is the largest p(1 − p)."""
        return self.noise**2 / (4 * self.mu)

    def _here(self, world: Quad) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients, expected losses and the softmax at zero."""
        problem = world.problem
        x = torch.zeros(world.dim, dtype=torch.float64)
        spread = self.noise**2 * problem.hessians.diagonal(dim1=-2, dim2=-1).sum(-1) / 2
        f = problem.values(x) + spread
        return problem.jacobian(x), f, torch.softmax(f / self.mu, -1)

    def _bias(self, world: Quad, trial: Trial, b: int, alpha: float) -> Interval:
        """An interval for the bias at batch size b."""
        g, f, p = self._here(world)
        A, centres = world.problem.hessians, world.problem.centres
        across = (g[0] - g[1]) / (g[0] - g[1]).norm()
        method = SmoothLexicographic(self.lam, self.mu)
        parts: list[Tensor] = []
        for k, begin in enumerate(range(0, trial.n, CHUNK)):
            draws = trial.stream.child("samples", b, k).draws()
            shift = self.noise * draws.normal("z", min(CHUNK, trial.n - begin), b, *centres.shape)
            rows = -centres - shift
            slopes = (A @ rows[..., None])[..., 0]
            losses, gradients = (rows * slopes).sum(-1).mean(1) / 2, slopes.mean(1)
            fused = torch.zeros_like(losses[:, :1])
            w = method.weights(torch.cat((fused, losses), -1))[:, 1:]
            error = losses - f
            linear = p * (error - (p * error).sum(-1, keepdim=True)) / self.mu
            drift = self.lam * (linear[..., None] * g + p[:, None] * (gradients - g)).sum(1)
            estimate = (w[..., None] * gradients).sum(1) - self.lam * (p[:, None] * g).sum(0) - drift
            parts.append(estimate @ across / (self.lam * self._unit))
        return student(torch.cat(parts), alpha=alpha)

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("a bias that falls as b^-1/2", replace(self, id=f"{self.id}!half", believed="half"), self.world),
            Control("no bias", replace(self, id=f"{self.id}!unbiased", believed="unbiased"), self.world),
            Control("losses and gradients of different samples", replace(self, id=f"{self.id}!shared", believed="values only"), self.world),
        )  # fmt: skip


def _slope(found: dict[int, Interval]) -> Interval:
    """The least-squares slope of log|bias| in log b over every choice within the intervals; all slopes where a sign is open."""
    alpha = sum(i.alpha for i in found.values())
    if any(i.low <= 0 <= i.high for i in found.values()):
        return Interval(-math.inf, math.inf, alpha=alpha)
    x = [math.log(b) for b in found]
    mean = sum(x) / len(x)
    weights = [(v - mean) / sum((u - mean) ** 2 for u in x) for v in x]
    ends = [sorted(math.log(abs(end)) for end in (i.low, i.high)) for i in found.values()]
    low = sum(w * (e[0] if w > 0 else e[1]) for w, e in zip(weights, ends, strict=True))
    high = sum(w * (e[1] if w > 0 else e[0]) for w, e in zip(weights, ends, strict=True))
    return Interval(low, high, alpha=alpha)


SMOOTH_BIAS: Claim[Any] = SmoothBias(
    id="moo/mimo-bias",
    source=Source("moo", "moo.md §1.3: the bias of the mini-batch gradient of the log-sum-exp", "derived here"),
    statement="The MIMO-style gradient of a mini-batch of b is biased by a known constant over b.",
    world=Quad(norms=(1.0, 0.5), cosine=0.5, dim=2),
    budgets={"small": Budget(36_000, 36_000), "full": Budget(360_000, 360_000)},
    margin=0.1,
    unit="mini-batches",
)
