"""R4.1 and R4.2: with linear encoders and a whitened consensus, consistency is MAXVAR; with every view whitened it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import maxvar, principal_cosines
from mmtheory.models.consistency import consensus_loss
from mmtheory.stats import Interval, student
from synthetic.worlds import LatentRegression

SHARED, ROUNDS = 2, 400


def three_views() -> LatentRegression:
    """Four, three and three numbers: two latents seen by all, and a far stronger one of each view's own."""
    rows: list[tuple[float, ...]] = []
    for i in range(10):
        view = 0 if i < 4 else 1 if i < 7 else 2
        shared = [round(2 * math.cos(0.7 + i + 1.9 * i * k), 3) for k in range(SHARED)]
        rows.append((*shared, *(8.0 * (i % 3 - 0.7) if view == k else 0.0 for k in range(3))))
    return LatentRegression(
        loadings=(tuple(rows[:4]), tuple(rows[4:7]), tuple(rows[7:])), weights=(1.0,) * 5, scale=(1.0,)
    )


@final
@dataclass(frozen=True)
class Consensus(Claim[LatentRegression]):
    r"""The least consistency under a whitened consensus is Σ(M − λ_i), reached on the MAXVAR span, which private latents hardly enter.

    Cases: the loss, the least cosine between the spans, and the share of the private latents' variance that the consensus knows. Left:
    alternating regressions from random starts (each view's code towards the consensus, the consensus to the whitened mean of the
    codes), the worst of them.

    :param principal: whether the left side takes the leading principal components of all inputs instead, for the control.
    """

    principal: bool = False

    def analytic(self, world: LatentRegression) -> Sides:
        values, weights = maxvar(world.law.covariance, list(world.law.widths.values()), SHARED)
        return {
            "loss": Interval.exact(float((len(world.modalities) - values).sum()), 1e-9),
            "least cosine": Interval.exact(1.0),
            "private share": Interval.exact(_private(world, weights), 1e-9),
        }

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        cov, widths = world.law.covariance, list(world.law.widths.values())
        _, weights = maxvar(cov, widths, SHARED)
        losses, cosines, shares = list[float](), list[float](), list[float]()
        for k in range(trial.n):
            span = trial.stream.child(k).draws().normal("start", len(cov), SHARED)
            if self.principal:
                span = torch.linalg.eigh(cov).eigenvectors[:, -SHARED:]
            span = _whitened(span, cov)
            for _ in range(0 if self.principal else ROUNDS):
                span = _whitened(sum(_codes(span, cov, widths), torch.zeros_like(span)), cov)
            apart = [code - span for code in _codes(span, cov, widths)]
            losses.append(sum(float(torch.trace(gap.mT @ cov @ gap)) for gap in apart))
            cosines.append(float(principal_cosines(span, weights, cov)[-1]))
            shares.append(_private(world, span))
        found = {"loss": max(losses), "least cosine": min(cosines), "private share": max(shares)}
        return {case: Interval.exact(value, 1e-9) for case, value in found.items()}

    def controls(self) -> tuple[Control, ...]:
        leading = replace(self, id=f"{self.id}!pca", principal=True)
        return (Control("principal components of all inputs", leading, self.world),)


@final
@dataclass(frozen=True)
class WhitenedViews(Claim[LatentRegression]):
    r"""Whitening every view's code, as the released loss does, costs more than MAXVAR unless the views are exchangeable.

    .. math:: M - \tfrac1M 1^\top C\,1 \;\ge\; M - \lambda_{\max}(C)

    for one number a view with correlations C ≥ 0: the first is the least consistency of codes of variance one, the second that of a
    consensus of variance one. Left: the consensus loss of the standardised views on samples.

    :param same: whether the analytic side takes MAXVAR's value for it.
    """

    strengths: tuple[tuple[float, ...], ...] = ((1.0, 1.0, 1.0), (20.0, 20.0, 0.01))
    same: bool = False

    def analytic(self, world: LatentRegression) -> Sides:
        sides: dict[str, Interval] = {}
        for snr in self.strengths:
            c = correlations(snr)
            agreed = float(torch.linalg.eigvalsh(c)[-1]) if self.same else float(c.mean()) * len(snr)
            sides[f"snr {snr}"] = Interval.exact(len(snr) - agreed, 1e-12)
        return sides

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for snr in self.strengths:
            blocks = tuple(((math.sqrt(s),),) for s in snr)
            here = LatentRegression(loadings=blocks, weights=(1.0,), scale=(1.0,))
            batch = here.sample(trial.n, stream=trial.stream.child(str(snr), trial.n))
            codes = [x / math.sqrt(1 + s) for x, s in zip(batch.x.values(), snr, strict=True)]
            each = consensus_loss([z[:, None, :] for z in codes])
            sides[f"snr {snr}"] = student(each, alpha=trial.alpha / len(self.strengths))
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("MAXVAR's value for it", replace(self, id=f"{self.id}!maxvar", same=True), self.world),
            misstated(self, "a mean over views in place of the sum", lambda side: side * (1 / 3)),
        )


def correlations(snr: tuple[float, ...]) -> Tensor:
    """Of noisy numbers that share one latent."""
    seen = torch.tensor([math.sqrt(s / (1 + s)) for s in snr], dtype=torch.float64)
    return torch.outer(seen, seen) + torch.diag(1 - seen**2)


def _codes(span: Tensor, cov: Tensor, widths: list[int]) -> list[Tensor]:
    """Each view's regression on the consensus, as weights on all inputs."""
    codes, at = list[Tensor](), 0
    for width in widths:
        here = slice(at, at + width)
        code = torch.zeros_like(span)
        code[here] = torch.linalg.solve(cov[here, here], cov[here] @ span)
        codes.append(code)
        at += width
    return codes


def _whitened(span: Tensor, cov: Tensor) -> Tensor:
    """The same span with uncorrelated functions of variance one."""
    factor = torch.linalg.cholesky(span.mT @ cov @ span)
    return torch.linalg.solve_triangular(factor, span.mT, upper=False).mT


def _private(world: LatentRegression, weights: Tensor) -> float:
    """Σ over private latents of the variance that the (whitened) consensus explains."""
    seen = weights.mT @ (world.law.scale[:, None] * world.law.loading)
    return float((seen[:, SHARED:] ** 2).sum())


CONSENSUS: Claim[Any] = Consensus(
    id="R4.1",
    source=Source("umurl", "consistency with linear encoders and a whitened consensus", "derived here"),
    statement="The least consistency is Σ(M − λ_i) over the leading eigenvalues of Σ P_m, on the span of what the views share.",
    world=three_views(),
    budgets={"small": Budget(3, 3), "full": Budget(30, 30)},
    margin=1e-7,
    unit="random starts",
)

WHITENED_VIEWS: Claim[Any] = WhitenedViews(
    id="R4.2",
    source=Source("umurl", "the regularisers act on every view's code", "derived here"),
    statement="With every view whitened the least consistency is M − 1ᵀC1/M, above MAXVAR's unless views are exchangeable.",
    world=LatentRegression.exchangeable(3, 1.0),
    budgets={"small": Budget(40_000, 160_000), "full": Budget(400_000, 1_600_000)},
    margin=0.05,
)
