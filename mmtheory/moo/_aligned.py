"""Aligned-MTL: the gradients' principal components brought to one length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, certify_equations
from ._checks import on_simplex, preference_of
from ._eigen import eigen
from ._weighting import Weighting


@final
@dataclass(frozen=True)
class AlignedMTL(Weighting):
    r"""Weights under which the gradient system has condition number one.

    .. math:: G = V \Lambda V^\top, \qquad w = \sqrt{\lambda}\, V_r \Lambda_r^{-1/2} V_r^\top p

    λ is the least of the r positive eigenvalues (or their median or mean), r the numerical rank in the Gramian's own precision. The
    direction may ascend an objective.

    :param preference: p on the simplex; None is 1/m each.
    :param scale: which eigenvalue sets the common length.
    :raises ArgumentError: a preference off the simplex, an unknown scale.

    Source: Senushkin et al. 2023 (paper).

    >>> AlignedMTL().weights(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [0.25, 0.5]
    """

    name: ClassVar[str] = "aligned"
    degree: ClassVar[float | None] = 0.0

    preference: tuple[float, ...] | None = None
    scale: Literal["min", "median", "mean"] = "min"

    def __post_init__(self) -> None:
        on_simplex(self.preference)
        if self.scale not in {"min", "median", "mean"}:
            raise ArgumentError(f"scale: expected min, median or mean, found {self.scale!r}")

    def solve(self, gramian: Tensor) -> Tensor:
        values, vectors, live = _spectrum(gramian)
        inside = (vectors.mT @ preference_of(self.preference, gramian)[:, None])[..., 0]
        part = torch.where(live, inside / torch.where(live, values, 1.0).sqrt(), 0.0)
        return self._common(values, live).sqrt() * (vectors @ part[..., None])[..., 0]

    def _common(self, values: Tensor, live: Tensor) -> Tensor:
        """The common squared length ``[*batch, 1]``."""
        if self.scale == "min":
            return torch.where(live, values, torch.inf).amin(-1, keepdim=True).nan_to_num(posinf=0.0)
        if self.scale == "mean":
            return torch.where(live, values, 0.0).sum(-1, keepdim=True) / live.sum(-1, keepdim=True).clamp(min=1)
        return torch.where(live, values, torch.nan).nanmedian(-1, keepdim=True).values.nan_to_num(nan=0.0)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The gap is ‖V_r Λ_r^½ V_rᵀ w − √λ P p‖ over √λ ‖p‖: w is read back through G^½, not recomputed through its inverse."""
        G, w = gramian.detach().double(), weights.detach().double()
        values, vectors, live = _spectrum(G)
        p = preference_of(self.preference, G)
        root = torch.where(live, values, 0.0).sqrt()
        common = self._common(values, live).sqrt()
        error = (vectors.mT @ w[..., None])[..., 0] * root - common * torch.where(
            live, (vectors.mT @ p[:, None])[..., 0], 0.0
        )
        scale = common[..., 0] * torch.linalg.vector_norm(p)
        size = torch.linalg.vector_norm(error, dim=-1)
        return certify_equations(G, w, torch.where(scale > 0, size / torch.where(scale > 0, scale, 1.0), size))


def _spectrum(gramian: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues, eigenvectors and which eigenvalues are positive beyond rounding."""
    values, vectors = eigen(gramian)
    least = values.amax(-1, keepdim=True) * gramian.shape[-1] * torch.finfo(gramian.dtype).eps
    return values, vectors, values > least.clamp(min=0)
