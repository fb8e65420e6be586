"""Logistic regression of many replicates at once, with a certificate that does not trust the iteration."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.errors import ArgumentError


@dataclass(frozen=True)
class LogisticFit:
    """Weights of a logistic regression and how far from optimal they can be.

    Shape: ``weights`` [*batch_shape, d]; ``loss`` and ``gap`` [*batch_shape].

    :param loss: the minimised objective, mean loss in nats plus the ridge.
    :param gap: certified bound on loss − least loss; infinite where nothing is certified (separable data have no minimiser).
    """

    weights: Tensor
    loss: Tensor
    gap: Tensor


def logistic_regression(x: Tensor, y: Tensor, *, ridge: float = 0.0, iterations: int = 30) -> LogisticFit:
    r"""Newton's method with halving on the mean logistic loss, all replicates in step.

    .. math:: \frac1n \sum_i \ln(1 + e^{-s_i w^\top x_i}) + \frac{\text{ridge}}{2}\|w\|^2, \qquad s_i = 2y_i - 1

    There is no intercept: append a column of ones for one. With g and H the gradient and Hessian at the answer, μ the least eigenvalue
    of H, r the longest row, :math:`\rho = \sqrt\mu/r` and :math:`\tau = \sqrt{g^\top H^{-1}g}/\rho`,

    .. math:: \text{gap} \le \rho^2\,[\tau + (1-\tau)\ln(1-\tau)] \approx \tfrac12\, g^\top H^{-1} g \qquad (\tau < 1)

    because along any direction the second derivative shrinks by at most e to the distance travelled times r.

    Shape: x [*batch_shape, n, d], y [*batch_shape, n] of 0 and 1 -> see :class:`LogisticFit`.

    :param ridge: weight of the squared norm; 0 is maximum likelihood.
    :param iterations: at most so many steps; it stops when every replicate is certified to 1e−16.
    :raises ArgumentError: shapes that disagree, labels other than 0 and 1, or a negative ridge.

    Source: Bach 2010, self-concordance of the logistic loss (known); the constant of the certificate derived here.

    >>> fit = logistic_regression(torch.ones(4, 1), torch.tensor([1, 1, 1, 0]))
    >>> round(fit.weights.item(), 6) == round(math.log(3), 6), bool(fit.gap < 1e-12)
    (True, True)
    """
    if x.shape[:-1] != y.shape or not ridge >= 0:
        raise ArgumentError(
            f"logistic_regression: expected x [*b, n, d], y [*b, n] and ridge >= 0, found {tuple(x.shape)}, {tuple(y.shape)}, {ridge}"
        )
    if not bool(((y == 0) | (y == 1)).all()):
        raise ArgumentError("logistic_regression: expected labels 0 and 1, found others")
    rows = x.double() * (2 * y.double() - 1)[..., None]
    w = torch.zeros((*x.shape[:-2], x.shape[-1]), dtype=torch.float64, device=x.device)
    longest = torch.linalg.vector_norm(rows, dim=-1).amax(-1).clamp(min=1e-300)
    loss, decrement, step, gap = _state(rows, w, ridge, longest)
    for _ in range(iterations):
        # A certified replicate stands still, so that its answer does not depend on who is fitted beside it.
        size = (gap >= 1e-16).double()
        if not bool(size.any()):
            break
        for _ in range(20):
            trial = w - size[..., None] * step
            bad = _loss(rows, trial, ridge) > loss - 0.25 * size * decrement + 1e-15
            if not bool(bad.any()):
                break
            size = torch.where(bad, size / 2, size)
        w = w - size[..., None] * step
        loss, decrement, step, gap = _state(rows, w, ridge, longest)
    return LogisticFit(w, loss, gap)


def _loss(rows: Tensor, w: Tensor, ridge: float) -> Tensor:
    """The objective."""
    margin = (rows @ w[..., None])[..., 0]
    return softplus(-margin).mean(-1) + ridge / 2 * (w**2).sum(-1)


def _state(rows: Tensor, w: Tensor, ridge: float, longest: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Objective, squared Newton decrement, Newton step and certified gap at w."""
    n = rows.shape[-2]
    margin = (rows @ w[..., None])[..., 0]
    wrong = torch.sigmoid(-margin)
    gradient = ridge * w - (wrong[..., None, :] @ rows)[..., 0, :] / n
    curvature = (wrong * (1 - wrong))[..., None] * rows
    hessian = rows.mT @ curvature / n + ridge * torch.eye(w.shape[-1], dtype=w.dtype, device=w.device)
    values, vectors = torch.linalg.eigh(hessian)
    floor = values[..., -1:].clamp(min=1e-300) * 1e-14
    along = (vectors.mT @ gradient[..., None])[..., 0]
    step = (vectors @ (along / torch.maximum(values, floor))[..., None])[..., 0]
    decrement = (gradient * step).sum(-1)
    rho = values[..., 0].clamp(min=0).sqrt() / longest
    tau = decrement.clamp(min=0).sqrt() / rho.clamp(min=1e-300)
    inside = tau.clamp(max=1 - 1e-12)
    # τ + (1 − τ) ln(1 − τ) cancels for small τ, where its series τ²/2 + τ³/6 + … is below τ²/2 · 1/(1 − τ).
    exact = inside + (1 - inside) * torch.log1p(-inside)
    body = torch.where(inside < 1e-3, inside**2 / 2 / (1 - inside), exact)
    certified = (tau < 1) & (values[..., 0] > floor[..., 0])
    gap = torch.where(certified, rho**2 * body, math.inf)
    loss = softplus(-margin).mean(-1) + ridge / 2 * (w**2).sum(-1)
    return loss, decrement, step, gap
