"""Logistic regression over a Euclidean ball, for samples on finitely many rows, with a certificate."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.errors import ArgumentError

from ._logistic import LogisticFit


def ball_logistic(
    rows: Tensor, counts: Tensor, radius: float, *, tolerance: float = 1e-6, steps: int = 2000
) -> LogisticFit:
    r"""The least mean logistic loss over :math:`\|w\| \le B`, by accelerated projected gradients, all replicates in step.

    .. math:: \min_{\|w\|\le B} \sum_{c,y} p_{c,y} \ln(1 + e^{-s_y w^\top x_c}),
        \qquad \text{gap} = \langle\nabla, w\rangle + B\|\nabla\| \ge \text{loss} - \text{least loss}

    The gap is that of Frank and Wolfe, which bounds a convex function's excess over the ball whatever the iteration did.

    Shape: rows [c, d], counts [*batch_shape, c, 2] (any non-negative weights) -> weights [*batch_shape, d], loss and gap [*batch_shape].

    :param radius: B; 0 leaves only w = 0.
    :param tolerance: it stops when every gap is below, or after ``steps``.
    :raises ArgumentError: shapes that disagree, a negative radius, or a replicate without samples.

    Source: derived here (projected gradients with momentum and the Frank–Wolfe gap are textbook).

    >>> import math
    >>> fit = ball_logistic(torch.ones(1, 1), torch.tensor([[1.0, 3.0]]), 10.0)
    >>> round(fit.weights.item(), 3) == round(math.log(3), 3)
    True
    """
    if (
        rows.dim() != 2
        or counts.shape[-2:] != (len(rows), 2)
        or not radius >= 0
        or bool((counts.sum((-1, -2)) <= 0).any())
    ):
        raise ArgumentError(
            f"ball_logistic: expected rows [c, d], counts [*b, c, 2] with samples in each, radius >= 0, "
            f"found {tuple(rows.shape)}, {tuple(counts.shape)}, {radius}"
        )
    x, p = rows.double(), counts.double()
    p = p / p.sum((-1, -2), keepdim=True)
    total = p.sum(-1)
    rate = 4 / float(torch.linalg.matrix_norm(x, 2) ** 2 * total.amax())
    w = ahead = x.new_zeros(*p.shape[:-2], x.shape[-1])
    momentum = 1.0
    for step in range(steps):
        if step % 50 == 0 and float(_gap(_gradient(x, p, total, w), w, radius).amax()) <= tolerance:
            break
        following = _into_ball(ahead - rate * _gradient(x, p, total, ahead), radius)
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = following + (momentum - 1) / grown * (following - w)
        w, momentum = following, grown
    margin = w @ x.mT
    loss = (p[..., 1] * softplus(-margin) + p[..., 0] * softplus(margin)).sum(-1)
    return LogisticFit(w, loss, _gap(_gradient(x, p, total, w), w, radius))


def _gradient(x: Tensor, p: Tensor, total: Tensor, w: Tensor) -> Tensor:
    return (total * (w @ x.mT).sigmoid() - p[..., 1]) @ x


def _gap(gradient: Tensor, w: Tensor, radius: float) -> Tensor:
    return ((gradient * w).sum(-1) + radius * gradient.norm(dim=-1)).clamp(min=0)


def _into_ball(w: Tensor, radius: float) -> Tensor:
    length = w.norm(dim=-1, keepdim=True)
    return torch.where(length > radius, w * (radius / length.clamp(min=1e-300)), w)
