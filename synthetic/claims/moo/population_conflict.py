"""C10.2: where the fused gradient and a modality's own conflict on its encoder, in the population."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, student
from synthetic.worlds import GaussianRegression

PIECE = 200_000


@final
@dataclass(frozen=True)
class PopulationConflict(Claim[GaussianRegression]):
    r"""The product of the two gradients on modality m's weights; it is negative where they conflict.

    .. math:: \Bigl\langle \Sigma_{mm}w_m - \Sigma_{my},\; \Sigma_{mm}w_m - \Sigma_{my} + \sum_{l \ne m}\Sigma_{ml}w_l \Bigr\rangle

    of ½E(y − w_mᵀx_m)² and ½E(y − Σwᵀx)². The empirical side multiplies gradients of independent samples, which is unbiased. Cases are
    modalities at a few weights, some of which conflict.

    :param places: the weights, all coordinates of all modalities.
    :param coupled: whether the other modalities' weights enter; without them nothing ever conflicts.
    """

    coupled: bool = True
    places: tuple[tuple[float, ...], ...] = ((0.3, 0.6), (0.6, -0.2), (0.2, 0.1))

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        d = sum(world.dims)
        return () if all(len(w) == d for w in self.places) else (f"weights of {d} coordinates, found {self.places}",)

    def analytic(self, world: GaussianRegression) -> Sides:
        law = world.law
        sides: dict[str, Interval] = {}
        for k, place in enumerate(self.places):
            w = torch.tensor(place, dtype=torch.float64)
            pull = law.covariance @ w - law.cross
            for m in world.modalities:
                at = law.columns([m])
                own = law.covariance[at][:, at] @ w[at] - law.cross[at]
                sides[f"{m} at {k}"] = Interval.exact(float(own @ (pull[at] if self.coupled else own)), 1e-9)
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        found: dict[str, list[Tensor]] = {}
        for piece, begin in enumerate(range(0, trial.n, PIECE)):
            count = min(PIECE, trial.n - begin)
            batch = world.sample(2 * count, stream=trial.stream.child("pairs", piece), device=trial.device)
            x = batch.stacked()
            for k, place in enumerate(self.places):
                w = torch.tensor(place, dtype=torch.float64, device=x.device)
                fused = (x @ w - batch.y)[count:, None] * x[count:]
                start = 0
                for m, width in zip(world.modalities, world.dims, strict=True):
                    cut = slice(start, start + width)
                    own = (x[:count, cut] @ w[cut] - batch.y[:count])[:, None] * x[:count, cut]
                    found.setdefault(f"{m} at {k}", []).append((own * fused[:, cut]).sum(-1))
                    start += width
        return {case: student(torch.cat(parts), alpha=trial.alpha / len(found)) for case, parts in found.items()}

    def controls(self) -> tuple[Control, ...]:
        alone = replace(self, id=f"{self.id}!alone", coupled=False)
        return (Control("the other modalities left out", alone, self.world),)


POPULATION_CONFLICT: Claim[Any] = PopulationConflict(
    id="C10.2",
    source=Source("moo", "theory.md §10: conflict of joint and uni-modal gradients", "derived here"),
    statement="On an encoder the fused and the uni-modal gradient differ by the other modalities' pull, which alone decides whether they conflict.",
    world=GaussianRegression(snr=(3.0, 1.0), dims=(1, 1), rho=0.3),
    budgets={"small": Budget(100_000, 400_000), "full": Budget(1_000_000, 4_000_000)},
    margin=0.06,
    unit="pairs of samples",
)
