"""Two balanced Gaussian classes with one covariance: information and error as functions of the squared separation D²."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, InfeasibleError

_STEP, _REACH = 0.05, 40.0


def lda_information(d2: Tensor | float) -> Tensor:
    r"""I(x; y) for x | y ~ N(yμ, Σ), y = ±1 balanced, as a function of :math:`D^2 = \mu^\top\Sigma^{-1}\mu`.

    .. math:: I(D^2) = \ln 2 - E \ln(1 + e^{-2D^2 - 2DZ}), \qquad Z \sim N(0, 1)

    The classes are 2D apart, so D² is a quarter of the squared Mahalanobis distance between them. By the trapezoidal rule, which
    converges geometrically for this integrand: the error is below 1e−14.

    Shape: elementwise. Unit: nat.

    :param d2: squared separation; 0 is no information, ∞ is ln 2.
    :raises ArgumentError: a negative separation.

    Source: derived here (symmetric form of the textbook integral).

    >>> [round(float(lda_information(d2)) / math.log(2), 8) for d2 in (0.0, 0.36, 1.0)]
    [0.0, 0.22108398, 0.48594415]
    """
    return (math.log(2) - lda_equivocation(d2)).clamp(min=0)


def lda_equivocation(d2: Tensor | float) -> Tensor:
    r"""H(y | x) of the same law, with full relative precision even where it is far below rounding of ln 2.

    .. math:: H = \int \varphi(t)\, e^{-D^2/2}\cosh(Dt)\; h(\sigma(2Dt))\,dt, \qquad h \text{ the binary entropy}

    Shape: elementwise. Unit: nat.

    :param d2: squared separation; 0 gives ln 2.
    :raises ArgumentError: a negative separation.

    Source: derived here.

    >>> round(float(lda_equivocation(0.0)), 12) == round(math.log(2), 12)
    True
    """
    s = torch.as_tensor(d2, dtype=torch.float64)
    if not bool((s >= 0).all()):
        raise ArgumentError(f"lda: expected a squared separation >= 0, found {d2}")
    d = s.sqrt()[..., None]
    # On the scale 1/max(1, D) the integrand is as wide as its distance from the nearest complex singularity.
    scale = 1 / d.clamp(min=1)
    t = torch.arange(0, _REACH + _STEP / 2, _STEP, dtype=torch.float64, device=s.device) * scale
    u = 2 * d * t
    # e^{-u/2} is drawn out of both factors so that neither overflows: cosh(Dt) = e^{u/2}(1+e^{-u})/2.
    tail = torch.exp(-u)
    entropy = torch.log1p(tail) + u * tail / (1 + tail)
    density = torch.exp(-0.5 * (t - d) ** 2) * (1 + tail) / 2 / math.sqrt(2 * math.pi)
    cells = density * entropy
    return (2 * cells.sum(-1) - cells[..., 0]) * _STEP * scale[..., 0]


def lda_error(d2: Tensor | float) -> Tensor:
    r"""Bayes error of the same law, :math:`\Phi(-D)`.

    Shape: elementwise.

    :param d2: squared separation; 0 is guessing.
    :raises ArgumentError: a negative separation.

    Source: textbook (known).

    >>> round(float(lda_error(1.0)), 8)
    0.15865525
    """
    s = torch.as_tensor(d2, dtype=torch.float64)
    if not bool((s >= 0).all()):
        raise ArgumentError(f"lda: expected a squared separation >= 0, found {d2}")
    return torch.special.ndtr(-s.sqrt())


def lda_separation(information: Tensor | float) -> Tensor:
    r"""The D² at which :func:`lda_information` gives this information: its inverse.

    By bisection on D, to the last bits; above ln 2 − 1e−15 the answer is only as good as the argument's rounding.

    Shape: elementwise.

    :param information: nats in [0, ln 2); 0 gives 0.
    :raises InfeasibleError: an information outside [0, ln 2).

    Source: derived here (I is strictly increasing).

    >>> round(float(lda_separation(lda_information(2.0))), 10)
    2.0
    """
    target = torch.as_tensor(information, dtype=torch.float64)
    if not bool(((target >= 0) & (target < math.log(2))).all()):
        raise InfeasibleError(f"lda_separation: expected an information in [0, ln 2), found {information}")
    low, high = torch.zeros_like(target), torch.full_like(target, 9.0)
    for _ in range(64):
        middle = (low + high) / 2
        above = lda_information(middle**2) > target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return torch.where(target == 0, torch.zeros_like(low), ((low + high) / 2) ** 2)
