"""W1: latent linear-Gaussian regression, where every answer for every subset of modalities is a Schur complement."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

LETTERS = "abcdefgh"


@final
@dataclass(frozen=True)
class GaussianRegression(World):
    r"""A scalar latent seen through noisy modalities.

    .. math:: z \sim N(0,1), \quad x_m = c_m(\sqrt{\mathrm{snr}_m}\, z\, e_1 + \varepsilon_m), \quad y = z + \sigma_y \eta

    The noise is white within a modality; between modalities the first coordinates are equicorrelated.

    :param snr: signal-to-noise ratio of each modality; 0 is a modality that knows nothing.
    :param dims: width of each modality; the coordinates beyond the first are pure noise.
    :param scale: c_m, which moves no information and no risk, only the speed of gradient descent.
    :param label_noise: variance of the label noise, 0 for none.
    :param rho: correlation between the noises of any two modalities; 0 is conditional independence.
    :raises ArgumentError: a dial out of its domain, or lengths that disagree.

    Source: derived here (textbook Gaussian conditioning).

    >>> round(GaussianRegression(snr=(3.0, 1.0), label_noise=0.1).known("bayes_risk", {"a"}).middle, 6)
    0.35
    """

    name: ClassVar[str] = "gaussian-regression"
    task: ClassVar[Task] = "regression"

    snr: tuple[float, ...] = (3.0, 1.0)
    dims: tuple[int, ...] = (1, 1)
    scale: tuple[float, ...] = (1.0, 1.0)
    label_noise: float = 0.1
    rho: float = 0.0

    def __post_init__(self) -> None:
        count = len(self.snr)
        if not 1 <= count <= len(LETTERS) or len(self.dims) != count or len(self.scale) != count:
            raise ArgumentError(
                f"{self.name}: expected snr, dims and scale of one length from 1 to 8, found {count}, {len(self.dims)}, {len(self.scale)}"
            )
        if min(self.snr) < 0 or min(self.dims) < 1 or min(self.scale) <= 0 or self.label_noise < 0:
            raise ArgumentError(
                f"{self.name}: expected snr >= 0, dims >= 1, scale > 0, label_noise >= 0, found {self.dials()}"
            )
        if not (-1 / max(count - 1, 1) < self.rho < 1):
            raise ArgumentError(
                f"{self.name}: expected rho in (-1/(M-1), 1) so that the noise covariance is positive definite, found {self.rho}"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(LETTERS[: len(self.snr)])

    @cached_property
    def noise_factor(self) -> Tensor:
        """Cholesky factor of the M × M correlation of the first coordinates' noises."""
        m = len(self.snr)
        return torch.linalg.cholesky((1 - self.rho) * torch.eye(m, dtype=torch.float64) + self.rho)

    def draw(self, n: int, draws: Draws) -> Batch:
        z = draws.normal("z", n)
        first = draws.normal("first", n, len(self.snr)) @ self.noise_factor.T.to(draws.device)
        x: dict[str, Tensor] = {}
        for i, m in enumerate(self.modalities):
            x[m] = draws.normal(f"noise {m}", n, self.dims[i])
            x[m][..., 0] = math.sqrt(self.snr[i]) * z + first[..., i]
            x[m] *= self.scale[i]
        return Batch(x, z + math.sqrt(self.label_noise) * draws.normal("label noise", n))

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {
            ("bayes_risk", "precision"): partial(self._risk, route="precision"),
            ("bayes_risk", "schur"): partial(self._risk, route="schur"),
            ("information", "variance ratio"): self._information,
        }

    def _risk(self, given: frozenset[str], *, route: str) -> Interval:
        """Var(y | x_S): σ_y² + 1/(1 + aᵀΨ⁻¹a) by the latent's precision, or the Schur complement of the joint covariance."""
        index = [i for i, m in enumerate(self.modalities) if m in given]
        a = torch.tensor([math.sqrt(self.snr[i]) for i in index], dtype=torch.float64)
        noise = (self.noise_factor @ self.noise_factor.T)[index][:, index]
        if route == "precision":
            left = 1 / (1 + float(a @ torch.linalg.solve(noise, a))) if index else 1.0
        else:
            left = 1 - float(a @ torch.linalg.solve(noise + torch.outer(a, a), a)) if index else 1.0
        return Interval.exact(self.label_noise + left, 1e-12)

    def _information(self, given: frozenset[str]) -> Interval:
        risk = self._risk(given, route="precision")
        if risk.low <= 0:
            return Interval(0.5 * math.log((1 + self.label_noise) / risk.high), math.inf)
        total = 1 + self.label_noise
        return Interval(max(0.0, 0.5 * math.log(total / risk.high)), max(0.0, 0.5 * math.log(total / risk.low)))
