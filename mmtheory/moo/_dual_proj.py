"""DualProj: the preferred direction projected on the cone of non-conflict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ._certificate import Certificate, certify_nnqp, product
from ._checks import on_simplex, preference_of
from ._nnqp import nnqp
from ._weighting import Weighting

PAIR = 2


@final
@dataclass(frozen=True)
class DualProj(Weighting):
    r"""The point nearest to Jᵀp from which no objective rises.

    .. math:: w = \arg\min_{v \ge p} v^\top G v, \qquad J^\top w = \arg\min_{Jx \ge 0} \|x - J^\top p\|

    :param preference: p on the simplex; None is 1/m each.
    :raises ArgumentError: a preference off the simplex.

    Source: Lopez-Paz & Ranzato 2017, GEM (paper); name of Quinton & Rey 2024.

    >>> DualProj(preference=(1.0, 0.0)).weights(torch.tensor([[1.0, -0.5], [-0.5, 1.0]])).tolist()
    [1.0, 0.5]
    """

    name: ClassVar[str] = "dualproj"
    degree: ClassVar[float | None] = 0.0

    preference: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        on_simplex(self.preference)

    def solve(self, gramian: Tensor) -> Tensor:
        p = preference_of(self.preference, gramian)
        slopes = product(gramian, p.expand(gramian.shape[:-1]))
        if gramian.shape[-1] == PAIR:
            # At most one of two rows can stand against Jᵀp, and raising its weight does not turn the other.
            lengths = gramian.diagonal(dim1=-2, dim2=-1)
            return p - slopes.clamp(max=0) / torch.where(lengths > 0, lengths, 1.0)
        return p + nnqp(gramian, slopes)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        p = preference_of(self.preference, G).expand_as(w)
        parts = certify_nnqp(G, product(G, p), w - p)
        value = torch.maximum(parts.squared_norm, (w * product(G, w)).sum(-1))
        return Certificate(parts.gap, parts.primal, parts.dual, parts.complementarity, value)
