"""K equally likely classes in K orthogonal directions of white noise: accuracy and equivocation as functions of the amplitude."""

from __future__ import annotations

import math
from functools import cache
from typing import Literal

import torch
from scipy import integrate
from torch import Tensor

Rule = Literal["trapezoid", "adaptive"]
NORM = math.sqrt(2 * math.pi)


def signalling_accuracy(amplitude: float, classes: int, *, rule: Rule = "trapezoid") -> tuple[float, float]:
    r"""Bayes accuracy of x | y = k ~ N(δ e_k, I_K), with a bound on its numerical error.

    .. math:: \int \varphi(t-\delta)\,\Phi(t)^{K-1}\,dt

    :param amplitude: δ; 0 is guessing.
    :param rule: the trapezoidal rule, which converges geometrically here, or scipy's adaptive one.

    Source: textbook (orthogonal signalling; known).

    >>> round(signalling_accuracy(1.5, 10)[0], 4)
    0.5086
    """
    if rule == "trapezoid":
        step = 0.05
        t = torch.arange(-12, 12 + step / 2, step, dtype=torch.float64)
        cells = torch.exp(-t * t / 2 + (classes - 1) * torch.special.log_ndtr(t + amplitude)) / NORM
        return float(cells.sum()) * step, 1e-13
    value, error = integrate.quad(
        lambda t: math.exp(-t * t / 2 + (classes - 1) * float(torch.special.log_ndtr(torch.tensor(t + amplitude, dtype=torch.float64)))) / NORM,
        -12, 12, epsabs=1e-13, epsrel=1e-13, limit=400,
    )  # fmt: skip
    return value, error + 1e-13


def signalling_equivocation(amplitude: float, classes: int, *, rule: Rule = "trapezoid") -> tuple[float, float]:
    r"""H(y | x) of the same law in nats, with a bound on its numerical error.

    A logarithm of a sum of K independent log-normals is a K-fold integral; Frullani's :math:`\ln S = \int_0^\infty (e^{-t}-e^{-tS})\,dt/t`
    turns it into one integral over products of one-dimensional ones:

    .. math:: H = \int \left[e^{-e^u} - g(u+\delta^2)\,g(u)^{K-1}\right]du - \delta^2, \qquad g(u) = E\,e^{-e^{u+\delta Z}}

    :param amplitude: δ; 0 gives ln K.

    Source: derived here.

    >>> round(signalling_equivocation(0.0, 3)[0], 12) == round(math.log(3), 12)
    True
    """
    # Left of ``low`` both terms are 1 but for e^low E S; right of ``high`` both vanish.
    low = -(36 + math.log(classes) + 10 * amplitude + amplitude**2)
    high = 5.0 + 9.5 * amplitude
    step = 0.15
    if rule == "trapezoid":
        u = torch.arange(low, high, step, dtype=torch.float64)
        cells = torch.exp(-torch.exp(u)) - _laplace(u + amplitude**2, amplitude) * _laplace(u, amplitude) ** (
            classes - 1
        )
        return float(cells.sum()) * step - amplitude**2, 1e-11 * (1 + amplitude**2)

    def cell(v: float) -> float:
        u = torch.tensor([v, v + amplitude**2], dtype=torch.float64)
        own = _laplace(u, amplitude, nodes="hermite" if amplitude <= 1 else "grid")
        return float(torch.exp(-torch.exp(u[0])) - own[1] * own[0] ** (classes - 1))

    value, error = integrate.quad(cell, low, high, epsabs=1e-11, epsrel=1e-11, limit=1000)
    return value - amplitude**2, error + 1e-10


def _laplace(u: Tensor, amplitude: float, nodes: str = "grid") -> Tensor:
    """g(u) = E exp(−e^{u+δZ})."""
    if nodes == "hermite":
        at, weight = hermite(200)
    else:
        step = 0.2 / max(1.0, amplitude)
        at = torch.arange(-9.0, 9.0 + step / 2, step, dtype=torch.float64)
        weight = torch.exp(-at * at / 2)
        weight = weight / weight.sum()
    return torch.exp(-torch.exp((u[:, None] + amplitude * at).clamp(max=50))) @ weight


@cache
def hermite(count: int) -> tuple[Tensor, Tensor]:
    """Gauss–Hermite nodes and weights for a standard normal variable (Golub and Welsch, so that 200 nodes keep their precision)."""
    beside = torch.arange(1, count, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(beside, 1) + torch.diag(beside, -1))
    return nodes, vectors[0] ** 2
