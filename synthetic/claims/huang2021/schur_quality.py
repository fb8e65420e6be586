"""C1.6: the quality of a linear encoder is a generalised Schur complement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from synthetic.worlds import LatentRegression


@final
@dataclass(frozen=True)
class SchurQuality(Claim[LatentRegression]):
    r"""η(A), the least excess risk of any linear head on the frozen encoder Aᵀx, has a closed form.

    .. math:: \inf_\beta r(\beta^\top A^\top x) - r^* = w^{*\top}[\Sigma - \Sigma A(A^\top\Sigma A)^\dagger A^\top\Sigma]w^*

    One case an encoder, of every rank, one of them with a repeated column. The empirical side solves for the head by an SVD least-squares
    on the Cholesky factor of Σ.

    :param metric: in which w* is projected on the encoder's span; ``euclidean`` is a plausible mistake, for the control.
    """

    encoders: int = 6
    metric: Literal["covariance", "euclidean"] = "covariance"

    def cases(self, world: LatentRegression) -> dict[str, Tensor]:
        """The encoders, which belong to the statement and not to the trial."""
        d = len(world.law.scale)
        draws = Stream(0, ("C1.6", "encoders")).draws()
        found = {
            f"rank {r} encoder {k}": draws.normal(f"{r} {k}", d, r)
            for r in range(1, d + 1)
            for k in range(self.encoders)
        }
        found["rank 1 given twice"] = draws.normal("twice", d, 1).expand(d, 2).clone()
        return found

    def analytic(self, world: LatentRegression) -> Sides:
        law = world.law
        if self.metric == "covariance":
            return {case: Interval.exact(float(law.encoder_gap(a))) for case, a in self.cases(world).items()}
        w = law.coefficients(world.modalities)
        sides: dict[str, Interval] = {}
        for case, a in self.cases(world).items():
            left = w - a @ (torch.linalg.pinv(a) @ w)
            sides[case] = Interval.exact(float(left @ law.covariance @ left))
        return sides

    def empirical(self, world: LatentRegression, trial: Trial) -> Sides:
        factor = torch.linalg.cholesky(world.law.covariance)
        wanted = torch.linalg.solve_triangular(factor, world.law.cross[:, None], upper=False)[:, 0].numpy()
        sides: dict[str, Interval] = {}
        for case, a in self.cases(world).items():
            seen = (factor.mT @ a).numpy()
            head = np.linalg.lstsq(seen, wanted, rcond=1e-12)[0]
            sides[case] = Interval.exact(float(((wanted - seen @ head) ** 2).sum()))
        return sides

    def controls(self) -> tuple[Control, ...]:
        wrong = replace(self, id="C1.6!euclidean", metric="euclidean")
        return (Control("projection in the Euclidean metric", wrong, self.world),)


SCHUR_QUALITY: Claim[Any] = SchurQuality(
    id="C1.6",
    source=Source("huang2021", "the composite linear case: latent quality through a Schur complement", "derived here"),
    statement="The least excess risk of a linear head on a frozen linear encoder A is w*ᵀ[Σ − ΣA(AᵀΣA)⁺AᵀΣ]w*.",
    world=LatentRegression.shared_private((2.0, 1.0, 0.5), (1.0, 3.0, 0.2)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-8,
    unit="computations",
)
