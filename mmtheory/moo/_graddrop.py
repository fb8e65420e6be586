"""GradDrop: the sign of each coordinate drawn by the share of the gradient mass behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate
from ._checks import within


def graddrop(rows: Tensor, uniform: Tensor, *, leak: float = 0.0) -> Tensor:
    r"""The update direction of GradDrop, which depends on J itself and not on its Gramian.

    .. math:: P = \tfrac12\Bigl(1 + \frac{\sum_i J_{ik}}{\sum_i |J_{ik}|}\Bigr), \qquad
        d_k = \sum_i \bigl(\ell + (1-\ell)\,[J_{ik} > 0] \text{ if } P > U_k \text{ else } \ell + (1-\ell)\,[J_{ik} < 0]\bigr) J_{ik}

    Its expectation over U is the plain sum of the rows: with p and n the sums of the positive and of the negative entries of a column,
    P = p/(p − n) and P p + (1 − P) n = p + n. What it changes is the noise: of the two sums of a column one is always dropped whole.

    Shape: rows ``[*batch, m, d]``, uniform ``[*batch, d]`` (numbers in [0, 1) drawn by the caller), result ``[*batch, d]``.

    :param leak: share of the dropped part that passes; 1 is the plain sum.
    :raises ArgumentError: leak outside [0, 1], or shapes that disagree.

    Source: Chen et al. 2020 (paper).

    >>> graddrop(torch.tensor([[1.0, 2.0], [-1.0, 2.0]]), torch.tensor([0.4, 0.9])).tolist()
    [1.0, 4.0]
    """
    within("leak", leak, 0.0, 1.0)
    if uniform.shape != (*rows.shape[:-2], rows.shape[-1]):
        raise ArgumentError(
            f"uniform: expected shape {[*rows.shape[:-2], rows.shape[-1]]}, found {list(uniform.shape)}"
        )
    positive, negative = rows.clamp(min=0).sum(-2), rows.clamp(max=0).sum(-2)
    up = (positive > (positive - negative).mul_(uniform)).to(rows.dtype)  # P > U without a division
    # At weights 0 and 1 lerp gives its ends to the bit, and takes a tenth of where's time on a CPU.
    kept = torch.lerp(negative, positive, up)
    return kept.add_(torch.lerp(positive, negative, up), alpha=leak) if leak else kept


def purity(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """P, and the sums of a column's positive and of its negative entries, each ``[*batch, d]``."""
    positive, negative = rows.clamp(min=0).sum(-2), rows.clamp(max=0).sum(-2)
    mass = positive - negative
    return torch.where(mass > 0, positive / torch.where(mass > 0, mass, 1.0), 0.5), positive, negative


def certify_graddrop(
    rows: Tensor, direction: Tensor, uniform: Tensor | None = None, *, leak: float = 0.0
) -> Certificate:
    r"""How far a direction is from one that GradDrop can give for these rows.

    Each coordinate must be one of the two values that a draw decides between, with p and n a column's positive and negative sums:

    .. math:: d_k \in \{p_k + \ell\, n_k,\; n_k + \ell\, p_k\}, \qquad E\,d_k = p_k + n_k

    ``gap`` is the largest distance from these values relative to p − n (with ``uniform`` from the one that U decides on), ``dual`` the
    largest part of d against the sign of a column whose entries all agree, ``squared_norm`` is ‖d‖².

    Shape: rows ``[*batch, m, d]``, direction ``[*batch, d]``, uniform ``[*batch, d]`` or None where the draw is not known.

    :raises ArgumentError: leak outside [0, 1], or shapes that disagree.

    Source: derived here.

    >>> certify_graddrop(torch.tensor([[1.0, 2.0], [-1.0, 2.0]]), torch.tensor([0.0, 4.0])).gap.item()
    0.5
    """
    within("leak", leak, 0.0, 1.0)
    J, d = rows.detach().double(), direction.detach().double()
    if J.ndim < 2 or d.shape != (*J.shape[:-2], J.shape[-1]):
        raise ArgumentError(f"direction: expected a number a column of rows {list(J.shape)}, found {list(d.shape)}")
    share, positive, negative = purity(J)
    up, down = (d - positive - leak * negative).abs(), (d - negative - leak * positive).abs()
    away = torch.minimum(up, down)
    if uniform is not None:
        if uniform.shape != d.shape:
            raise ArgumentError(f"uniform: expected shape {list(d.shape)}, found {list(uniform.shape)}")
        away = torch.where(share > uniform.double(), up, down)
    mass = positive - negative
    scale = torch.where(mass > 0, mass, 1.0)
    pure = (positive == 0) | (negative == 0)
    against = torch.where(pure, -d * (positive + negative).sign(), 0.0) / scale
    gap, nothing = (away / scale).amax(-1), torch.zeros_like(d[..., 0])
    return Certificate(gap, nothing, against.amax(-1).clamp(min=0), nothing, (d**2).sum(-1))


@final
@dataclass(frozen=True)
class GradDrop:
    """``graddrop`` with its one hyper-parameter, for ``certify``; it has directions, not weights.

    :param leak: share of the dropped part that passes; 1 is the plain sum.
    :raises ArgumentError: leak outside [0, 1].

    Source: Chen et al. 2020 (paper).

    >>> GradDrop(leak=1.0).direction(torch.tensor([[1.0, -2.0], [3.0, 4.0]]), torch.tensor([0.5, 0.5])).tolist()
    [4.0, 2.0]
    """

    leak: float = 0.0

    def __post_init__(self) -> None:
        within("leak", self.leak, 0.0, 1.0)

    def direction(self, rows: Tensor, uniform: Tensor) -> Tensor:
        """The direction for given draws."""
        return graddrop(rows, uniform, leak=self.leak)

    def certificate(self, rows: Tensor, direction: Tensor, uniform: Tensor | None = None) -> Certificate:
        """``certify_graddrop`` with this leak."""
        return certify_graddrop(rows, direction, uniform, leak=self.leak)
