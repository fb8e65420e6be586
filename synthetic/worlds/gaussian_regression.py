"""W1: latent linear-Gaussian regression, where every answer for every subset of modalities is a Schur complement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, InfeasibleError
from mmtheory.info import design_correlated
from mmtheory.rng import Draws

from ._dials import names, per_modality
from ._gaussian_learners import GaussianLaw
from ._inverse import feasible
from ._linear_gaussian import LinearGaussian
from ._missing import Rates


@final
@dataclass(frozen=True)
class GaussianRegression(LinearGaussian):
    r"""A scalar latent seen through noisy modalities.

    .. math:: z \sim N(0,1), \quad x_m = c_m(\sqrt{\mathrm{snr}_m}\, z\, e_1 + \varepsilon_m), \quad y = z + \sigma_y \eta

    The noise is white within a modality; between modalities the first coordinates are equicorrelated.

    :param snr: signal-to-noise ratio of each modality; 0 is a modality that knows nothing.
    :param dims: width of each modality; the coordinates beyond the first are pure noise. One value is meant for all.
    :param scale: c_m, which moves no information and no risk, only the speed of gradient descent. One value is meant for all.
    :param label_noise: variance of the label noise, 0 for none.
    :param rho: correlation between the noises of any two modalities; 0 is conditional independence given z.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: a dial out of its domain, or lengths that disagree.

    Source: derived here (textbook Gaussian conditioning).

    >>> round(GaussianRegression(snr=(3.0, 1.0), label_noise=0.1).known("bayes_risk", {"a"}).middle, 6)
    0.35
    """

    name: ClassVar[str] = "gaussian-regression"

    snr: tuple[float, ...] = (3.0, 1.0)
    dims: tuple[int, ...] = (1, 1)
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    rho: float = 0.0
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        count = len(names(len(self.snr), self.name))
        object.__setattr__(self, "dims", per_modality(self.dims, (1, 1), count, f"{self.name} dims"))
        object.__setattr__(self, "scale", per_modality(self.scale, (1.0, 1.0), count, f"{self.name} scale"))
        finite = all(math.isfinite(v) for v in (*self.snr, *self.scale, self.label_noise))
        if not finite or min(self.snr) < 0 or min(self.dims) < 1 or min(self.scale) <= 0 or self.label_noise < 0:
            raise ArgumentError(
                f"{self.name}: expected finite snr >= 0, dims >= 1, scale > 0, label_noise >= 0, found {self.dials()}"
            )
        if not (-1 / max(count - 1, 1) < self.rho < 1):
            raise ArgumentError(
                f"{self.name}: expected rho in (-1/(M-1), 1) so that the noise covariance is positive definite, found {self.rho}"
            )
        _ = self.rates

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.snr), self.name)

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...] | None = None,
        redundancy: float | None = None,
        unique: float = 0.0,
        synergy: float = 0.0,
        label_noise: float = 0.0,
        side: Literal["+", "-"] = "-",
    ) -> Self:
        r"""The world whose modalities have these informations, or the two-modality world with this decomposition.

        Redundancy is set by the weaker modality's snr, unique information (of ``a``) by the stronger's, synergy by ρ alone.

        Unit: nat.

        :param information: I(x_m; y) of each modality, their noises independent.
        :param redundancy: R of two modalities; give this or ``information``.
        :param label_noise: σ_y², which caps every information at ½ ln(1 + 1/σ_y²).
        :param side: the larger (``+``) or smaller (``-``) of the two correlations that give this synergy.
        :raises InfeasibleError: a target outside what this label noise leaves, with the feasible interval.

        Source: derived here.

        >>> world = GaussianRegression.from_targets(redundancy=0.2, unique=0.3, synergy=0.1)
        >>> round(world.known("synergy", {"a", "b"}).middle, 12)
        0.1
        """
        if (information is None) == (redundancy is None):
            raise ArgumentError("from_targets: expected either information or redundancy, found both or neither")
        if information is not None:
            return cls(
                snr=tuple(_strength(i, label_noise) for i in information),
                dims=(1,),
                scale=(1.0,),
                label_noise=label_noise,
            )
        if min(float(redundancy or 0.0), unique, synergy) < 0:
            raise InfeasibleError(f"from_targets: expected R, U, S in [0, ∞), found {redundancy}, {unique}, {synergy}")
        # The noiseless informations of the same strengths, for which the inverse design is known.
        ends = (_strength(i, label_noise) for i in accumulate((float(redundancy or 0.0), unique, synergy)))
        weak, strong, both = (0.5 * math.log1p(s) for s in ends)
        low, high, rho = design_correlated(weak, strong - weak, both - strong, law="gaussian", side=side)
        if not abs(rho) < 1:
            raise InfeasibleError(
                f"from_targets: expected a synergy in [0, 0] beside R = {redundancy}, U = {unique} and side {side!r}, found {synergy}"
                if low == 0
                else f"from_targets: expected U > 0 or S > 0 with side '-' (equal noises would be one noise), found side {side!r}"
            )
        return cls(snr=(high, low), label_noise=label_noise, rho=rho)

    @cached_property
    def law(self) -> GaussianLaw:
        count = len(self.snr)
        return GaussianLaw(
            widths=dict(zip(self.modalities, self.dims, strict=True)),
            loading=torch.tensor(self.snr, dtype=torch.float64).sqrt()[:, None],
            noise=(1 - self.rho) * torch.eye(count, dtype=torch.float64) + self.rho,
            target=torch.ones(1, dtype=torch.float64),
            label_noise=self.label_noise,
            column=tuple(accumulate(self.dims[:-1], initial=0)),
            scale=torch.repeat_interleave(
                torch.tensor(self.scale, dtype=torch.float64), torch.tensor(self.dims)
            ),
        )  # fmt: skip

    @cached_property
    def noise_factor(self) -> Tensor:
        """Cholesky factor of the M × M correlation of the first coordinates' noises."""
        return torch.linalg.cholesky(self.law.noise)

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        z = draws.normal("z", n)
        first = draws.normal("first", n, len(self.snr)) @ self.noise_factor.mT.to(draws.device)
        x: dict[str, Tensor] = {}
        for i, m in enumerate(self.modalities):
            x[m] = draws.normal(f"noise {m}", n, self.dims[i])
            x[m][..., 0] = math.sqrt(self.snr[i]) * z + first[..., i]
            x[m] *= self.scale[i]
        return Batch(x, z + math.sqrt(self.label_noise) * draws.normal("label noise", n))


def _strength(information: float, label_noise: float) -> float:
    """The snr at which I(x; y) has this value; every information lies below what the label noise leaves.

    Inverts I = ½ ln[(1 + σ²)/(σ² + 1/(1 + snr))].
    """
    cap = 0.5 * math.log1p(1 / label_noise) if label_noise else math.inf
    feasible("every information (and every sum), nat,", information, 0.0, cap, attained=False)
    shrink = -math.expm1(-2 * information) * (1 + label_noise)
    return shrink / (1 - shrink)
