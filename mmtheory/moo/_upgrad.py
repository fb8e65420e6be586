"""UPGrad: every gradient projected on the cone of non-conflict, then averaged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from ._active_set import active_set
from ._certificate import Certificate, certify_equations, distance
from ._checks import numbers, on_simplex, preference_of
from ._nnqp import Scaled, pivot_rows, scaled, solve_rows, solve_scaled
from ._weighting import Weighting

PAIR = 2


@final
@dataclass(frozen=True)
class UPGrad(Weighting):
    r"""Unconflicting projection of gradients.

    .. math:: w = \sum_i p_i \arg\min_{v \ge e_i} v^\top G v, \qquad Gw \ge 0

    Linear under positive scaling of the rows of J, so losses may differ by decades. Equals the mean where no pair conflicts, and for two
    objectives half of PCGrad. Solved without the ridge that turns other implementations into the plain mean for small gradients.

    :param preference: p on the simplex; None is 1/m each.
    :raises ArgumentError: a preference off the simplex.

    Source: Quinton & Rey 2024, Jacobian descent (paper).

    >>> UPGrad().weights(torch.tensor([[1.0, -0.5], [-0.5, 1.0]])).tolist()
    [0.75, 0.75]
    """

    name: ClassVar[str] = "upgrad"
    degree: ClassVar[float | None] = 0.0

    preference: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        on_simplex(self.preference)

    def solve(self, gramian: Tensor) -> Tensor:
        m = gramian.shape[-1]
        if m == PAIR:
            return self._of_two(gramian)
        problem = scaled(gramian, torch.zeros_like(gramian[..., 0]))
        one = numbers(problem.cosines) if gramian.ndim == 2 else None
        found = None if one is None else pivot_rows(one)
        if found is not None:
            parts = torch.from_numpy(found)
        elif gramian.ndim == 2:
            parts = torch.stack([solve_scaled(problem.cosines, problem.cosines[i]) for i in range(m)])
        else:
            parts = solve_rows(problem.cosines)
        return self._joined(gramian, problem, parts)

    def _of_two(self, gramian: Tensor) -> Tensor:
        """The closed form for m = 2: each gradient loses what it has of the other."""
        lengths = gramian.diagonal(dim1=-2, dim2=-1)
        loss = -gramian[..., 0, 1, None].clamp(max=0) / torch.where(lengths > 0, lengths, 1.0)
        p = preference_of(self.preference, gramian)
        return p + loss * p.flip(-1)

    def _joined(self, gramian: Tensor, problem: Scaled, parts: Tensor) -> Tensor:
        """Σ p_i (e_i + z_i) from the parts in scaled rows: z_i = D⁻¹ z'_i D_i."""
        p = preference_of(self.preference, gramian)
        lengths = torch.where(problem.inverse > 0, 1 / problem.inverse, 0.0)
        return p + ((p * lengths)[..., None, :] @ parts)[..., 0, :] * problem.inverse

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The gap is the relative distance of the direction from the one that the active-set kernel, another algorithm, gives."""
        G, w = gramian.detach().double(), weights.detach().double()
        problem = scaled(G, torch.zeros_like(w))
        m = G.shape[-1]
        C = problem.cosines[..., None, :, :].expand(*G.shape[:-1], m, m).reshape(-1, m, m)
        parts = active_set(C, problem.cosines.reshape(-1, m)).reshape(G.shape)
        return certify_equations(G, w, distance(G, w, self._joined(G, problem, parts)))
