"""What learners do in a linear-Gaussian law: least squares, ridge, gradient flow, frozen encoders, Gradient-Blending."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import NotExactError
from mmtheory.stats import Interval

from ._gaussian_law import LinearGaussianLaw


@dataclass(frozen=True, slots=True)
class Blending:
    r"""Gradient-Blending's numbers for one learner: generalisation gain ΔG, growth of overfitting ΔO.

    >>> Blending(gain=0.5, overfit=0.25).ratio
    0.5
    """

    gain: float
    overfit: float

    @property
    def ratio(self) -> float:
        """OGR = |ΔO/ΔG|; infinite where nothing was gained."""
        return abs(self.overfit / self.gain) if self.gain else math.inf

    @property
    def weight(self) -> float:
        """ΔG/ΔO², before normalisation: negative where the fit is worse than the constant predictor."""
        return self.gain / self.overfit**2


class GaussianLaw(LinearGaussianLaw):
    """A linear-Gaussian law with the exact behaviour of the learners that can be solved in it."""

    def ols_risk(self, n: int, given: Iterable[str]) -> Interval:
        r"""Expected risk of least squares without intercept on n samples of x_S.

        .. math:: E\,r(\hat f_S) = r^*(S)\,\frac{n-1}{n-d_S-1}

        :raises NotExactError: n <= d_S + 1, where the expectation is infinite or another learner is meant.

        Source: derived here (inverse Wishart mean).
        """
        d = self.dim(given)
        if n <= d + 1:
            raise NotExactError(f"least squares: expected n > d + 1 = {d + 1} samples, found {n}")
        return self.risk(given) * ((n - 1) / (n - d - 1))

    def ols_train_risk(self, n: int, given: Iterable[str]) -> Interval:
        r"""Expected training error of the same fit, :math:`r^*(S)(1 - d_S/n)`.

        :raises NotExactError: n < d_S.

        Source: derived here (trace of the residual projector).
        """
        d = self.dim(given)
        if n < d:
            raise NotExactError(f"least squares: expected n >= d = {d} samples, found {n}")
        return self.risk(given) * (1 - d / n)

    def ols_crossover(self, fewer: Iterable[str], more: Iterable[str]) -> float:
        r"""The sample size below which fewer modalities have the lower expected risk, and beyond which more have.

        .. math:: n^* = 1 + \frac{\sigma_N^2 d_M - \sigma_M^2 d_N}{\sigma_N^2 - \sigma_M^2}

        Infinite where the additional modalities add nothing; it always lies beyond d_M + 1.

        Source: derived here.
        """
        small, large = self.risk(fewer), self.risk(more)
        if small.low <= large.high:
            return math.inf
        s, t = small.middle, large.middle
        return 1 + (s * self.dim(more) - t * self.dim(fewer)) / (s - t)

    def ridge_risk(self, design: Tensor, penalty: float, given: Iterable[str]) -> Tensor:
        r"""Expected risk of ridge regression over the labels, conditional on the design.

        The estimate minimises :math:`\tfrac1n\|Xw-y\|^2 + \lambda\|w\|^2`; its excess risk is

        .. math:: \lambda^2 b^\top(\hat\Sigma+\lambda)^{-1}\Sigma(\hat\Sigma+\lambda)^{-1}b
                  + \tfrac{\sigma^2}{n}\,\mathrm{tr}\,\Sigma\hat\Sigma(\hat\Sigma+\lambda)^{-2}

        Not invariant to the scales of the modalities, unlike least squares.

        Shape: design [*batch_shape, n, d_S] -> [*batch_shape].

        :param penalty: λ; 0 is least squares, for which the design must have full rank.

        Source: derived here (the residual of x_S is independent of it).
        """
        cov, _ = self.block(given)
        n, noise, b = design.shape[-2], self.risk(given).middle, self.coefficients(given)
        sample = design.mT @ design / n
        inverse = torch.linalg.inv(sample + penalty * torch.eye(len(b), dtype=torch.float64))
        bias = penalty * inverse @ b
        spread = (cov @ sample @ inverse @ inverse).diagonal(dim1=-2, dim2=-1).sum(-1)
        return noise + ((bias @ cov) * bias).sum(-1) + noise / n * spread

    def flow(self, time: Tensor | float, given: Iterable[str]) -> Tensor:
        r"""Weights of a one-layer model under population gradient flow from 0, :math:`\dot w = \Sigma_{Sy} - \Sigma_{SS}w`.

        .. math:: w(t) = (I - e^{-\Sigma t})\,\Sigma^{-1}\Sigma_{xy}

        Shape: time [*batch_shape] -> [*batch_shape, d_S].

        Source: textbook (known).
        """
        t = torch.as_tensor(time, dtype=torch.float64)[..., None]
        cov, cross = self.block(given)
        rates, basis = torch.linalg.eigh(cov)
        return (-torch.expm1(-rates * t) / rates * (cross @ basis)) @ basis.mT

    def flow_risk(self, time: Tensor | float, given: Iterable[str]) -> Tensor:
        r"""Risk along that flow, one exponential an eigenmode: :math:`r^* + \sum_i c_i^2 \lambda_i^{-1} e^{-2\lambda_i t}`.

        Shape: time [*batch_shape] -> [*batch_shape].
        """
        t = torch.as_tensor(time, dtype=torch.float64)[..., None]
        cov, cross = self.block(given)
        rates, basis = torch.linalg.eigh(cov)
        return self.risk(given).middle + ((cross @ basis) ** 2 / rates * torch.exp(-2 * rates * t)).sum(-1)

    def encoder_gap(self, encoder: Tensor) -> Tensor:
        r"""Latent representation quality η(A): how far the best head on Aᵀx stays behind the best predictor from all of x.

        .. math:: \eta(A) = w^{*\top}\left[\Sigma - \Sigma A(A^\top\Sigma A)^{\dagger}A^\top\Sigma\right]w^*

        Shape: encoder [*batch_shape, d, r] -> [*batch_shape].

        Source: Huang et al. 2021, the composite linear case (recalled); this form derived here.
        """
        w = self.coefficients(self.widths)
        seen = encoder.mT @ self.covariance
        head = torch.linalg.pinv(seen @ encoder, hermitian=True) @ (seen @ w)[..., None]
        explained = ((seen @ w)[..., None, :] @ head)[..., 0, 0]
        return ((w @ self.covariance) @ w - explained).clamp(min=0)

    def quality_gap(self, more: Iterable[str], fewer: Iterable[str]) -> Interval:
        r"""Population γ(M, N) = η_min(M) − η_min(N) = Var(y | x_M) − Var(y | x_N), non-positive when M contains N.

        Source: derived here (Huang et al. 2021 define γ).
        """
        return self.risk(more) - self.risk(fewer)

    def blending(self, n: int, given: Iterable[str]) -> Blending:
        r"""Gradient-Blending's ΔG and ΔO in expectation, of least squares on n samples begun at w = 0.

        .. math:: \Delta O = v_S d_S\,\frac{2n-d_S-1}{n(n-d_S-1)}, \qquad \Delta G = \mathrm{Var}(y) - v_S\frac{n-1}{n-d_S-1}

        :raises NotExactError: n <= d_S + 1.

        Source: derived here; the quantities are Wang et al.'s (CVPR 2020).
        """
        test = self.ols_risk(n, given).middle
        return Blending(self.variance - test, test - self.ols_train_risk(n, given).middle)

    def blending_flip(self, given: Iterable[str]) -> float:
        r"""The sample size at which ΔG of least squares changes sign: below it the fit is worse than the constant 0.

        .. math:: n_0 = 1 + \frac{k\,d_S}{k-1}, \qquad k = \mathrm{Var}(y)/\mathrm{Var}(y \mid x_S)

        Infinite for a modality that knows nothing.

        Source: derived here.
        """
        risk = self.risk(given)
        if risk.high >= self.variance:
            return math.inf
        k = self.variance / risk.middle
        return 1 + k * self.dim(given) / (k - 1)
