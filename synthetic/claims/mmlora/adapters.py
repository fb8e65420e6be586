"""R2.1 and R2.2: what adapters of rank r on frozen unimodal regressors can repair, exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import reduced_rank_correction, reduced_rank_risks, unimodal_regressors
from mmtheory.stats import Interval, Relation
from synthetic.worlds import LatentRegression

OUTPUTS, ROUNDS = 4, 200


def views(shared: float) -> LatentRegression:
    """Five and four numbers; two latents are common to both, ``shared`` times as strong as their own."""
    own = [[0.0] * 6 for _ in range(9)]
    for i in range(9):
        for k in range(2):
            own[i][k] = shared * round(1.5 * float(torch.cos(torch.tensor(1.0 + i + 2.3 * i * k))), 3)
        own[i][2 + (i % 2) + 2 * (i >= 5)] = 1.0
    blocks = tuple(tuple(row) for row in own[:5]), tuple(tuple(row) for row in own[5:])
    return LatentRegression(loadings=blocks, weights=(1.0,) * 6, scale=(1.0, 1.0))


def task(world: LatentRegression) -> tuple[Tensor, Tensor, list[int]]:
    """The additive target's maps A = [A_a, A_b] (fixed numbers), the covariance of all inputs, and the widths."""
    widths = list(world.law.widths.values())
    d = sum(widths)
    grid = torch.arange(OUTPUTS * d, dtype=torch.float64).reshape(OUTPUTS, d)
    return torch.sin(1 + 1.3 * grid), world.law.covariance, widths


@final
@dataclass(frozen=True)
class RiskCurve(Claim[LatentRegression]):
    r"""Added to the sum of frozen unimodal regressors, the best adapter of rank r leaves a tail of singular values.

    .. math:: \mathrm{excess}(r) = \sum_{i>r} s_i\big((A - [W_a, W_b])\,\Sigma^{1/2}\big)^2

    r = 0 is the ensemble (UME by sum), the knee is at the rank of the cross-covariance's part, full rank is joint regression, and with
    uncorrelated modalities there is nothing to gain. Cases: an adapter on both modalities' features together, one on a's alone, and the
    gain without correlation. Left: alternating least squares on the two factors from random starts, the worst of them; the ensemble
    by expanding the square.

    :param whitened: whether the singular values are those of the whitened residual, as they must be.
    """

    whitened: bool = True

    def analytic(self, world: LatentRegression) -> Sides:
        maps, cov, widths = task(world)
        residual = maps - unimodal_regressors(maps, cov, widths)
        curves = {"both": reduced_rank_risks(residual, cov), "a": reduced_rank_risks(residual, cov, range(widths[0]))}
        if not self.whitened:
            for case, given in (("both", range(sum(widths))), ("a", range(widths[0]))):
                curves[case] = torch.stack([_unwhitened(residual, cov, list(given), r) for r in range(OUTPUTS + 1)])
        sides = {
            f"{c}, r={r}": Interval.exact(float(v), 1e-9) for c, curve in curves.items() for r, v in enumerate(curve)
        }
        return {**sides, "gain without correlation": Interval.exact(0.0)}

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        maps, cov, widths = task(world)
        whole, sides = sum(widths), dict[str, Interval]()
        residual = maps - summed(maps, cov, widths)
        for case, d in (("both", whole), ("a", widths[0])):
            for r in range(OUTPUTS + 1):
                start = trial.stream.child(case, r).draws(range(trial.n)).normal("factor", r, d)
                found = _adapted(residual, cov, start)
                left = residual - torch.nn.functional.pad(found, (0, whole - d))
                sides[f"{case}, r={r}"] = Interval.exact(float(((left @ cov) * left).sum((-2, -1)).max()), 1e-9)
        apart = views(0.0)
        maps, cov, widths = task(apart)
        left = maps - summed(maps, cov, widths)
        return {**sides, "gain without correlation": Interval.exact(float(((left @ cov) * left).sum()), 1e-9)}

    def controls(self) -> tuple[Control, ...]:
        raw = replace(self, id=f"{self.id}!raw", whitened=False)
        return (Control("the residual's own singular vectors", raw, self.world),)


@final
@dataclass(frozen=True)
class Separate(Claim[LatentRegression]):
    """Adapters of rank r in each modality do better than one of rank r on both together and no better than one of rank 2r.

    Their stack has rank up to 2r, but not every map of rank 2r is such a stack, so that their curve is between two closed forms and is
    not the truncation of one spectrum. Left: both slacks, alternating the exact corrections of a and of b from the joint one of rank r.

    :param factor: rank of the joint adapter said to be the floor, in units of r; below 2 is wrong.
    """

    ranks: tuple[int, ...] = (1, 2)
    factor: int = 2

    def analytic(self, world: LatentRegression) -> Sides:
        return {
            f"{side}, r={r}": Interval.exact(0.0)
            for r in self.ranks
            for side in ("above the floor", "below the ceiling")
        }

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        maps, cov, widths = task(world)
        residual, sides = maps - summed(maps, cov, widths), dict[str, Interval]()
        spectrum = torch.linalg.eigvalsh(residual @ cov @ residual.mT).flip(-1)
        for r in self.ranks:
            found = reduced_rank_correction(residual, cov, r)
            for _ in range(trial.n):
                for columns in (list(range(widths[0])), list(range(widths[0], sum(widths)))):
                    others = found.clone()
                    others[:, columns] = 0
                    found = others
                    found[:, columns] = reduced_rank_correction(residual - others, cov, r, columns)
            left = residual - found
            risk = float(((left @ cov) * left).sum())
            floor, ceiling = float(spectrum[self.factor * r :].sum()), float(spectrum[r:].sum())
            sides[f"above the floor, r={r}"] = Interval.exact(risk - floor, 1e-9)
            sides[f"below the ceiling, r={r}"] = Interval.exact(ceiling - risk, 1e-9)
        return sides

    def controls(self) -> tuple[Control, ...]:
        one = replace(self, id=f"{self.id}!one", factor=1)
        return (Control("as one adapter of rank r on both", one, self.world),)


def summed(maps: Tensor, cov: Tensor, widths: list[int]) -> Tensor:
    """The unimodal regressors by the normal equations of each modality with the whole target."""
    blocks = torch.block_diag(*cov.split(widths)[0].split(widths, 1)[:1], cov[widths[0] :, widths[0] :])
    return (maps @ cov) @ torch.linalg.inv(blocks)


def _adapted(residual: Tensor, cov: Tensor, factor: Tensor) -> Tensor:
    """B·A by alternating least squares on the first columns, from A = ``factor`` [starts, r, d'] (r = 0: zeros)."""
    starts, r, d = factor.shape
    if not r:
        return residual.new_zeros(starts, residual.shape[0], d)
    block, cross = cov[:d, :d], (residual @ cov)[:, :d]
    out = residual.new_zeros(starts, residual.shape[0], r)
    for _ in range(ROUNDS):
        moment = factor @ block @ factor.mT
        out = (torch.linalg.pinv(moment, rtol=1e-12, hermitian=True) @ factor @ cross.mT).mT
        out = torch.linalg.qr(out).Q
        factor = torch.linalg.solve(block, (out.mT @ cross).mT).mT
    return out @ factor


def _unwhitened(residual: Tensor, cov: Tensor, given: list[int], rank: int) -> Tensor:
    """The error of truncating the regressed residual by its own singular vectors."""
    block = cov[given][:, given]
    target = torch.linalg.solve(block, (residual @ cov)[:, given].mT).mT
    u, s, v = torch.linalg.svd(target, full_matrices=False)
    left = residual.clone()
    left[:, given] = left[:, given] - (u[:, :rank] * s[:rank]) @ v[:rank]
    return ((left @ cov) * left).sum()


RISK_CURVE: Claim[Any] = RiskCurve(
    id="R2.1",
    source=Source("mmlora", "adapters on frozen unimodal models, linear case", "derived here"),
    statement="The best adapter of rank r on the sum of frozen unimodal regressors leaves the tail of a whitened spectrum; r = 0 is UME.",
    world=views(1.0),
    budgets={"small": Budget(2, 2), "full": Budget(16, 16)},
    margin=1e-5,
    unit="random starts",
)

SEPARATE: Claim[Any] = Separate(
    id="R2.2",
    source=Source("mmlora", "one adapter in each modality, linear case", "derived here"),
    statement="Adapters of rank r in each modality are bracketed by joint adapters of rank r and 2r.",
    world=views(1.0),
    budgets={"small": Budget(40, 40), "full": Budget(400, 400)},
    relation=Relation.AT_LEAST,
    margin=1e-8,
    unit="rounds",
)
