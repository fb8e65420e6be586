"""IMTL-G and ConFIG: directions that stand equally to every gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from torch import Tensor

from ._certificate import Certificate, certify_equations, product, squared_norm
from ._checks import numbers, settled
from ._eigen import eigen
from ._weighting import Weighting

PAIR = 2
PIVOT = 1e-3
"""Least diagonal entry of the cosines' Cholesky factor where no eigenvalue can be near what the pseudo-inverse leaves out (m ≤ 8)."""


def balanced(gramian: Tensor) -> tuple[Tensor, Tensor]:
    """D⁻¹C⁺1, weights under which every cosine with the direction is equal (if the gradients are independent), and the norms."""
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    inverse = torch.where(norms > 0, 1 / norms, 0.0)
    if gramian.shape[-1] == PAIR:
        return _balanced_two(gramian, inverse), norms
    cosines = gramian * inverse[..., :, None] * inverse[..., None, :]
    live = (norms > 0).to(gramian.dtype)
    return solved(cosines, live) * inverse, norms


def solved(cosines: Tensor, live: Tensor) -> Tensor:
    """C⁺1: on the CPU by Cholesky's factors where rows are clearly independent, twenty times as fast as by eigenvalues."""
    if cosines.device.type != "cpu":
        return by_eigenvalues(cosines, live)
    factor, failed = torch.linalg.cholesky_ex(cosines + torch.diag_embed(1 - live))
    regular = ((factor.diagonal(dim1=-2, dim2=-1) > PIVOT).all(-1) & (failed == 0))[..., None]
    found = torch.cholesky_solve(live[..., None], factor)[..., 0] * live
    return found if settled(~regular) else torch.where(regular, found, by_eigenvalues(cosines, live))


def by_eigenvalues(cosines: Tensor, live: Tensor) -> Tensor:
    values, vectors = eigen(cosines)
    least = values.amax(-1, keepdim=True) * cosines.shape[-1] * torch.finfo(cosines.dtype).eps
    projected = (vectors.mT @ live[..., None])[..., 0]
    part = torch.where(values > least, projected / torch.where(values > least, values, 1.0), 0.0)
    return (vectors @ part[..., None])[..., 0]


def _balanced_two(gramian: Tensor, inverse: Tensor) -> Tensor:
    """The closed form for m = 2: 1/(1 + cos) in unit rows, and the pseudo-inverse's ½ for parallel ones, 0 for opposite ones."""
    cosine = (gramian[..., 0, 1] * inverse[..., 0] * inverse[..., 1])[..., None]
    raised = 1 + cosine
    least = PAIR * torch.finfo(gramian.dtype).eps * (1 + cosine.abs())
    return torch.where(raised > least, inverse / torch.where(raised > least, raised, 1.0), 0.0)


def _pair_on_host(gramian: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """The Gramian of one pair as the host sees it, and its D⁻¹C⁺1; None for anything else."""
    G = numbers(gramian) if gramian.shape == (PAIR, PAIR) else None
    if G is None:
        return None
    a, b, c = float(G[0, 0]), float(G[0, 1]), float(G[1, 1])
    first, second = (1 / v**0.5 if v > 0 else 0.0 for v in (a, c))
    cosine = b * first * second
    raised = 1 + cosine
    level = 1 / raised if raised > PAIR * torch.finfo(torch.float64).eps * (1 + abs(cosine)) else 0.0
    return G, np.array((first * level, second * level))


def spread_of(gramian: Tensor, weights: Tensor) -> Tensor:
    """How unequal the projections ⟨g_i, d⟩/‖g_i‖ are, relative to ‖d‖: largest distance from their mean over live rows."""
    norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    live = norms > 0
    cosine = torch.where(live, product(gramian, weights) / torch.where(live, norms, 1.0), 0.0)
    mean = cosine.sum(-1, keepdim=True) / live.sum(-1, keepdim=True).clamp(min=1)
    length = squared_norm(gramian, weights).clamp(min=0).sqrt()
    spread = torch.where(live, (cosine - mean).abs(), 0.0).amax(-1)
    return torch.where(length > 0, spread / torch.where(length > 0, length, 1.0), spread)


@final
@dataclass(frozen=True)
class IMTLG(Weighting):
    r"""Equal projections on every unit gradient, weights that sum to one.

    .. math:: w \propto D^{-1} C^{+} 1, \quad 1^\top w = 1, \qquad \langle g_i, d\rangle / \|g_i\| \text{ equal for all } i

    Here C = D⁻¹GD⁻¹ are the cosines, so G⁺‖g‖ for independent gradients; dependent ones use the pseudo-inverse of C, which does not depend
    on the rows' scale. If the unnormalised weights have a negative sum, the direction conflicts with **every** objective (the certificate's
    ``dual`` shows it). Where that sum is zero the weights are infinite.

    Source: Liu et al. 2021, IMTL (paper).

    >>> IMTLG().weights(torch.tensor([[1.0, 0.0], [0.0, 9.0]])).tolist()
    [0.75, 0.25]
    """

    name: ClassVar[str] = "imtl-g"
    degree: ClassVar[float | None] = 0.0

    def solve(self, gramian: Tensor) -> Tensor:
        pair = _pair_on_host(gramian)
        if pair is not None:
            return torch.from_numpy(pair[1] / pair[1].sum() if pair[1].any() else pair[1])
        raw, _ = balanced(gramian)
        total = raw.sum(-1, keepdim=True)
        dead = (raw == 0).all(-1, keepdim=True)
        return torch.where(dead, 0.0, raw / torch.where(dead, 1.0, total))

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        return certify_equations(G, w, spread_of(G, w))


@final
@dataclass(frozen=True)
class ConFIG(Weighting):
    r"""The direction of equal cosines, as long as the sum of all gradients' projections on it.

    .. math:: u = D^{-1} C^{+} 1, \qquad \hat u = J^\top u / \|J^\top u\|, \qquad d = \Bigl(\sum_i \langle g_i, \hat u\rangle\Bigr)\hat u

    For independent gradients the same direction as IMTL-G, but never pointing uphill.

    Source: Liu et al. 2025, ConFIG (paper).

    >>> ConFIG().weights(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 1.0]
    """

    name: ClassVar[str] = "config"
    degree: ClassVar[float | None] = 0.0

    def solve(self, gramian: Tensor) -> Tensor:
        pair = _pair_on_host(gramian)
        if pair is not None:
            G, u = pair
            slopes = G @ u
            square = float(u @ slopes)
            return torch.from_numpy(u * (slopes.sum() / square) if square > 0 else 0 * u)
        raw, _ = balanced(gramian)
        length = squared_norm(gramian, raw)
        factor = product(gramian, raw).sum(-1) / torch.where(length > 0, length, 1.0)
        return torch.where((length > 0)[..., None], raw * factor[..., None], 0.0)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        return certify_equations(G, w, spread_of(G, w))
