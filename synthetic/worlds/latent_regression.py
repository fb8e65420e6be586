"""W1 in general: any latent, any loadings, any noise covariance; and the designs that theory singles out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws

from ._dials import names, per_modality
from ._gaussian_learners import GaussianLaw
from ._inverse import feasible, inverse
from ._linear_gaussian import LinearGaussian
from ._missing import Rates

Matrix = tuple[tuple[float, ...], ...]


@final
@dataclass(frozen=True)
class LatentRegression(LinearGaussian):
    r"""A vector latent seen through linear maps and correlated noise.

    .. math:: z \sim N(0,I_r), \quad x_m = c_m(A_m z + \varepsilon_m), \quad y = w^\top z + \sigma_y\eta

    Its decomposition is exact whatever r is, because y is a scalar (see ``world.law.decomposition``).

    :param loadings: A_m as rows, one matrix a modality, all with r columns.
    :param weights: w, of length r.
    :param noise: covariance Ψ of all coordinates together, cross-modality blocks included; () is white noise.
    :param scale: c_m, the speed dial; one value is meant for all.
    :param label_noise: variance of the label noise, 0 for none.
    :param missingness: probability that a modality is absent, independently and seen; one number or one a modality. 0 for never.
    :raises ArgumentError: shapes that disagree, or a noise that is not symmetric positive definite.

    Source: derived here.

    >>> round(LatentRegression.suppressor(snr=3.0, rho=0.6).known("unique", {"b"}).middle, 12)
    0.0
    """

    name: ClassVar[str] = "latent-regression"

    loadings: tuple[Matrix, ...] = (((1.0, 1.0, 0.0),), ((1.0, 0.0, 1.0),))
    weights: tuple[float, ...] = (1.0, 1.0, 1.0)
    noise: Matrix = ()
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    missingness: Rates = 0.0

    def __post_init__(self) -> None:
        count = len(names(len(self.loadings), self.name))
        object.__setattr__(self, "scale", per_modality(self.scale, (1.0, 1.0), count, f"{self.name} scale"))
        r = len(self.weights)
        if r < 1 or any(not block or any(len(row) != r for row in block) for block in self.loadings):
            raise ArgumentError(
                f"{self.name}: expected each loading to have rows of {r} numbers, one a latent, found {self.loadings}"
            )
        d = sum(len(block) for block in self.loadings)
        if self.noise and (len(self.noise) != d or any(len(row) != d for row in self.noise)):
            raise ArgumentError(
                f"{self.name}: expected noise () or {d} rows of {d} numbers, found {len(self.noise)} rows"
            )
        if min(self.scale) <= 0 or not 0 <= self.label_noise < math.inf or not all(map(math.isfinite, self._numbers())):
            raise ArgumentError(
                f"{self.name}: expected finite dials with scale > 0 and label_noise >= 0, found {self.dials()}"
            )
        _ = self.law, self.rates

    def _numbers(self) -> list[float]:
        """Every dial's numbers in one list."""
        rows = [row for block in self.loadings for row in block]
        return [v for row in (*rows, *self.noise, self.weights, self.scale) for v in row]

    @property
    def modalities(self) -> tuple[str, ...]:
        return names(len(self.loadings), self.name)

    @classmethod
    def shared_private(
        cls, shared: Sequence[float], private: Sequence[float], *, label_noise: float = 0.1, share: float = 0.5
    ) -> Self:
        r"""z = (z_c, z_1, …, z_M): every modality sees the common latent and its own, each with its signal-to-noise ratio.

        :param shared: snr of z_c in each modality; 0 hides it.
        :param private: snr of z_m in modality m; 0 hides it.
        :param share: part of Var(wᵀz) that the common latent has; the private ones share the rest equally.
        """
        count = len(shared)
        if len(private) != count or not 0 <= share <= 1:
            raise ArgumentError(
                f"{cls.name}: expected one snr a modality and a share in [0, 1], found {shared}, {private}, {share}"
            )
        blocks: list[Matrix] = []
        for m in range(count):
            own = tuple(math.sqrt(private[m]) if j == m else 0.0 for j in range(count))
            blocks.append(((math.sqrt(shared[m]), *(0.0,) * count), (0.0, *own)))
        rest = math.sqrt((1 - share) / count)
        return cls(
            loadings=tuple(blocks), weights=(math.sqrt(share), *(rest,) * count), scale=(1.0,), label_noise=label_noise
        )

    @classmethod
    def from_targets(
        cls,
        *,
        information: tuple[float, ...],
        joint: float | None = None,
        share: float = 0.5,
        label_noise: float = 0.1,
    ) -> Self:
        r"""The :meth:`shared_private` world whose modalities have these informations, each with one snr on all it sees.

        .. math:: c\,\frac{\mathrm{snr}_m}{1+\mathrm{snr}_m} = (1+\sigma_y^2)(1 - e^{-2I_m}), \qquad c = \text{share} + \frac{1-\text{share}}{M}

        Unit: nat.

        :param joint: information of all modalities together, which decides the share: the more is shared, the less they know together.
        :param share: part of the target's variance that all modalities see; without effect beside ``joint``.
        :raises InfeasibleError: an information outside what share and label noise leave, with the feasible interval.

        Source: derived here.

        >>> world = LatentRegression.from_targets(information=(0.3, 0.2), joint=0.45)
        >>> [round(world.known("information", s).middle, 9) for s in ("a", "b", "ab")]
        [0.3, 0.2, 0.45]
        """
        count, total = len(information), 1 + label_noise

        def strengths(part: float) -> tuple[float, ...]:
            ceiling = part + (1 - part) / count
            cap = 0.5 * math.log(total / (total - ceiling)) if total > ceiling else math.inf
            shares = [
                -math.expm1(-2 * feasible("every information, nat,", i, 0.0, cap, attained=False)) * total / ceiling
                for i in information
            ]
            return tuple(s / (1 - s) for s in shares)

        def world(part: float) -> Self:
            snr = strengths(part)
            return cls.shared_private(snr, snr, label_noise=label_noise, share=part)

        if joint is None:
            return world(share)
        strengths(1.0)
        most = -math.expm1(-2 * max(information)) * total
        least = max(0.0, (most - 1 / count) / (1 - 1 / count)) if count > 1 else 0.0
        least += 1e-9 * (1 - least)  # at the very end a modality would have to see without noise
        return world(
            inverse(
                lambda part: world(part).known("information", tuple("abcdefgh"[:count])).middle,
                joint, least, 1.0, what="the information of all modalities, nat,",
            )
        )  # fmt: skip

    @classmethod
    def redundant(cls, snr: Sequence[float], *, degraded: bool = True, label_noise: float = 0.0) -> Self:
        r"""One latent, every weaker modality a noisier copy of every stronger: redundancy and nothing else.

        The noises then correlate by :math:`\sqrt{\min/\max}`. Independent noises (``degraded=False``) would average out: that is
        redundancy *plus* denoising synergy.

        :param snr: distinct signal-to-noise ratios.
        """
        if degraded and (min(snr) <= 0 or len(set(snr)) < len(snr)):
            raise ArgumentError(
                f"{cls.name}: expected distinct snr > 0 (equal copies would be one modality twice), found {tuple(snr)}"
            )
        noise = tuple(
            tuple(1.0 if i == j else math.sqrt(min(s, t) / max(s, t)) for j, t in enumerate(snr))
            for i, s in enumerate(snr)
        )
        blocks = tuple(((math.sqrt(s),),) for s in snr)
        return cls(
            loadings=blocks, weights=(1.0,), noise=noise if degraded else (), scale=(1.0,), label_noise=label_noise
        )

    @classmethod
    def suppressor(cls, snr: float = 3.0, rho: float = 0.8, *, label_noise: float = 0.0) -> Self:
        r"""The second modality sees nothing of z, only the first's noise: synergy, and no information of its own.

        .. math:: S = \tfrac12\ln\frac{1+\mathrm{snr}/(1-\rho^2)}{1+\mathrm{snr}} \quad (\sigma_y = 0)

        :param rho: correlation of the noises; 0 makes the second modality useless.
        """
        return cls(
            loadings=(((math.sqrt(snr),),), ((0.0,),)), weights=(1.0,), noise=((1.0, rho), (rho, 1.0)), label_noise=label_noise
        )  # fmt: skip

    @classmethod
    def exchangeable(cls, modalities: int, snr: float, rho: float = 0.0, *, label_noise: float = 0.0) -> Self:
        r"""M equal views of one latent, equicorrelated: joint snr M·snr/(1 + (M−1)ρ), which saturates at snr/ρ.

        :param rho: correlation between any two noises; 0 lets the information grow without bound.
        """
        noise = tuple(tuple(1.0 if i == j else rho for j in range(modalities)) for i in range(modalities))
        blocks = (((math.sqrt(snr),),),) * modalities
        return cls(loadings=blocks, weights=(1.0,), noise=noise, scale=(1.0,), label_noise=label_noise)

    @cached_property
    def law(self) -> GaussianLaw:
        widths = [len(block) for block in self.loadings]
        d = sum(widths)
        return GaussianLaw(
            widths=dict(zip(self.modalities, widths, strict=True)),
            loading=torch.tensor([row for block in self.loadings for row in block], dtype=torch.float64),
            noise=torch.tensor(self.noise, dtype=torch.float64) if self.noise else torch.eye(d, dtype=torch.float64),
            target=torch.tensor(self.weights, dtype=torch.float64),
            label_noise=self.label_noise,
            column=tuple(range(d)),
            scale=torch.repeat_interleave(torch.tensor(self.scale, dtype=torch.float64), torch.tensor(widths)),
        )

    @cached_property
    def noise_factor(self) -> Tensor:
        """Cholesky factor of Ψ."""
        return torch.linalg.cholesky(self.law.noise)

    def draw_complete(self, n: int, draws: Draws) -> Batch:
        law, at = self.law, draws.device
        z = draws.normal("z", n, len(self.weights))
        noise = draws.normal("noise", n, len(law.scale)) @ self.noise_factor.mT.to(at)
        stacked = law.scale.to(at) * (z @ law.loading.mT.to(at) + noise)
        parts = stacked.split(list(law.widths.values()), dim=-1)
        y = z @ law.target.to(at) + math.sqrt(self.label_noise) * draws.normal("label noise", n)
        return Batch(dict(zip(self.modalities, parts, strict=True)), y)
