"""When each branch of a deep linear fusion network is learnt: the small-initialisation laws, stacked over populations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError, NotExactError

NODES = 2048


@final
@dataclass(frozen=True)
class Moments:
    r"""Second moments of two modalities and a target: all that population gradient descent on squared loss ever sees.

    Shape: ``covariance`` [*batch_shape, d, d] of the stacked inputs, ``cross`` [*batch_shape, d] = E[y x], ``dims`` = (d_a, d_b).

    :raises ArgumentError: shapes that disagree.

    >>> scalar_moments(2.0, 0.5).late_ratio().item()
    5.0
    """

    covariance: Tensor
    cross: Tensor
    dims: tuple[int, int]

    def __post_init__(self) -> None:
        d = sum(self.dims)
        if self.covariance.shape[-2:] != (d, d) or self.cross.shape != self.covariance.shape[:-1]:
            raise ArgumentError(
                f"moments: expected covariance [..., {d}, {d}] and cross [..., {d}], "
                f"found {tuple(self.covariance.shape)} and {tuple(self.cross.shape)}"
            )

    @property
    def batch_shape(self) -> torch.Size:
        """The populations in front."""
        return self.cross.shape[:-1]

    def block(self, row: int, column: int) -> Tensor:
        """Σ_mn, modalities by position 0 and 1."""
        cut = (slice(0, self.dims[0]), slice(self.dims[0], None))
        return self.covariance[..., cut[row], cut[column]]

    def target(self, m: int) -> Tensor:
        """Σ_ym of the modality at position m, [*batch_shape, d_m]."""
        return self.cross[..., : self.dims[0]] if m == 0 else self.cross[..., self.dims[0] :]

    def swapped(self) -> Moments:
        """The same population with the two modalities' roles exchanged."""
        a = self.dims[0]
        order = torch.cat([torch.arange(a, sum(self.dims)), torch.arange(a)])
        return Moments(self.covariance[..., order, :][..., order], self.cross[..., order], (self.dims[1], a))

    def alone(self, m: int) -> Tensor:
        """Fit of one modality by itself, Σ_ym Σ_mm⁻¹: where its branch waits while the other is not learnt yet."""
        return torch.linalg.solve(self.block(m, m), self.target(m))

    def together(self) -> Tensor:
        """Least squares on both, where every fusion ends when Σ is positive definite."""
        return torch.linalg.solve(self.covariance, self.cross)

    def left_over(self) -> Tensor:
        """Σ̃_yB = Σ_yB − Σ_yA Σ_A⁻¹ Σ_AB: what B still explains once A is learnt alone; 0 is permanent unimodal bias."""
        return self.target(1) - (self.block(1, 0) @ self.alone(0)[..., None])[..., 0]

    def first(self) -> Tensor:
        """Whether A is learnt before B, ‖Σ_yA‖ > ‖Σ_yB‖."""
        return self.target(0).norm(dim=-1) > self.target(1).norm(dim=-1)

    def misattribution(self) -> Tensor:
        r"""What A's branch holds of B's share while it is alone, :math:`\Sigma_{yA}\Sigma_A^{-1} - W_A^*`, [*batch_shape, d_a]."""
        return self.alone(0) - self.together()[..., : self.dims[0]]

    def head_start(self) -> Tensor:
        r"""Fraction k of A's logarithmic growth that B has made when A is learnt, ‖Σ_yB‖/‖Σ_yA‖; negative if it grew the wrong way.

        Two vectors in general position always overlap, so only scalars have a sign: with one coordinate in B and Σ_yB against Σ̃_yB
        the branch must first shrink, and a norm in the place of the sign gives a wrong ratio (derived here).
        """
        k = self.target(1).norm(dim=-1) / self.target(0).norm(dim=-1)
        if self.dims[1] > 1:
            return k
        return k * torch.sign(self.target(1) * self.left_over())[..., 0]

    def late_ratio(self) -> Tensor:
        r"""t_B/t_A of late fusion at any depth as u₀ → 0.

        .. math:: \frac{t_B}{t_A} = 1 + \frac{\|\Sigma_{yA}\|\,(1-k)}{\|\tilde\Sigma_{yB}\|}

        Infinite where Σ̃_yB = 0. Source: Zhang et al. 2024, the two-phase law (code); the sign of k derived here.
        """
        return 1 + self.target(0).norm(dim=-1) * (1 - self.head_start()) / self.left_over().norm(dim=-1)

    def ratio(self, depth: int, fusion_layer: int, u0: Tensor | float) -> Tensor:
        r"""t_B/t_A to leading order in u₀, for A learnt first.

        .. math:: 1 + \frac{\|\Sigma_{yA}\|(1-k)}{\|\tilde\Sigma_{yB}\|\,\omega^{1-L_f/L}}\,\frac{g}{I},\qquad
                  g = \ln\tfrac1{u_0}\ (L_f=2),\quad \frac{u_0^{2-L_f}}{L_f-2}\ (L_f>2)

        L_f = 1 gives 1, L_f = L gives :meth:`late_ratio` whatever u₀; between them the ratio tends to 1 like u₀^{L−L_f}.

        :param u0: norm of every layer at the start.
        :raises ArgumentError: layers out of order, u₀ outside (0, 1).
        :raises NotExactError: B is learnt first (exchange the roles with :meth:`swapped`).

        Source: Zhang et al. 2024, (5.1)–(5.3) (code).
        """
        u0 = checked(depth, fusion_layer, torch.as_tensor(u0, dtype=self.cross.dtype))
        if bool((self.target(1).norm(dim=-1) > self.target(0).norm(dim=-1) * (1 + 1e-12)).any()):
            raise NotExactError("ratio: expected ‖Σ_yA‖ >= ‖Σ_yB‖, found B learnt first; exchange them with swapped()")
        if fusion_layer == 1:
            return torch.ones(torch.broadcast_shapes(u0.shape, self.batch_shape), dtype=u0.dtype)
        if fusion_layer == depth:
            return self.late_ratio().expand(torch.broadcast_shapes(u0.shape, self.batch_shape))
        plateau = self.alone(0).norm(dim=-1) ** (1 - fusion_layer / depth)
        gap = _climb(u0, fusion_layer) / _waiting(self.head_start(), depth, fusion_layer, u0)
        return 1 + (self.late_ratio() - 1) / plateau * gap

    def first_time(self, depth: int, fusion_layer: int, u0: Tensor | float) -> Tensor:
        r"""t_A in units of the time constant τ = 1/learning rate, to leading order in u₀ (fusion_layer ≥ 2).

        .. math:: \frac{\ln(1/u_0)}{\|\Sigma_{yA}\|}\ (L=2),\qquad \frac{u_0^{2-L}}{(L-2)\|\Sigma_{yA}\|}\ (L_f=L>2),\qquad
                  \frac{I}{\|\Sigma_{yA}\|}\ (2\le L_f<L)

        Source: Zhang et al. 2024 (code).
        """
        u0 = checked(depth, fusion_layer, torch.as_tensor(u0, dtype=self.cross.dtype))
        if fusion_layer == 1:
            return _early_time(self, depth, u0)
        if fusion_layer == depth:
            return _climb(u0, depth) / self.target(0).norm(dim=-1)
        return _waiting(self.head_start(), depth, fusion_layer, u0) / self.target(0).norm(dim=-1)


def scalar_moments(
    kappa: Tensor | float, rho: Tensor | float, weights: tuple[Tensor | float, Tensor | float] = (1.0, 1.0)
) -> Moments:
    """One coordinate a modality: x_a of standard deviation κ, x_b of 1, correlation ρ, y = w_a x_a + w_b x_b; arguments broadcast.

    >>> scalar_moments(2.0, 0.5).misattribution().item()
    0.25
    """
    parts = torch.broadcast_tensors(*(torch.as_tensor(v, dtype=torch.float64) for v in (kappa, rho, *weights)))
    k, r, wa, wb = parts
    covariance = torch.stack([k * k, r * k, r * k, torch.ones_like(k)], -1).reshape(*k.shape, 2, 2)
    cross = (covariance @ torch.stack([wa, wb], -1)[..., None])[..., 0]
    return Moments(covariance, cross, (1, 1))


def checked(depth: int, fusion_layer: int, u0: Tensor) -> Tensor:
    """u₀ itself, if 1 ≤ L_f ≤ L, L ≥ 2 and 0 < u₀ < 1."""
    if not (depth >= 2 and 1 <= fusion_layer <= depth):
        raise ArgumentError(
            f"phases: expected depth >= 2 and 1 <= fusion_layer <= depth, found {depth} and {fusion_layer}"
        )
    if not bool(((u0 > 0) & (u0 < 1)).all()):
        raise ArgumentError(f"phases: expected u0 in (0, 1), found {u0.tolist()}")
    return u0


def _climb(u0: Tensor, layers: int) -> Tensor:
    """∫_{u0}^{1} du/u^{layers−1} to leading order: ln(1/u₀) or u₀^{2−l}/(l−2)."""
    return -u0.log() if layers == 2 else u0 ** (2 - layers) / (layers - 2)


def _waiting(k: Tensor, depth: int, fusion_layer: int, u0: Tensor) -> Tensor:
    r"""I = ∫_{u₀}^{1} du / {u^{L_f−1}(u² + u_B(u)²)^{(L−L_f)/2}} in the variable ln u, by Simpson's rule."""
    u0, k = torch.broadcast_tensors(u0, k)
    grid = torch.linspace(0, 1, 2 * NODES + 1, dtype=torch.float64)
    u = u0[..., None] ** (1 - grid)
    other = _companion(u, u0[..., None], k[..., None], fusion_layer)
    value = u ** (2 - fusion_layer) * (u * u + other * other) ** (-(depth - fusion_layer) / 2)
    weight = torch.full_like(grid, 2.0)
    weight[1::2] = 4.0
    weight[0] = weight[-1] = 1.0
    return (value * weight).sum(-1) * -u0.log() / (6 * NODES)


def _companion(u: Tensor, u0: Tensor, k: Tensor, fusion_layer: int) -> Tensor:
    """u_B when A's layers have grown to u: u₀(u/u₀)^k, or its power-law counterpart for L_f > 2."""
    if fusion_layer == 2:
        return u0 * (u / u0) ** k
    power = 2 - fusion_layer
    return (k * u**power + (1 - k) * u0**power) ** (1 / power)


def _early_time(moments: Moments, depth: int, u0: Tensor) -> Tensor:
    r"""Early fusion from first-layer blocks of norm u₀ each: s = √2 u₀ cosh θ + p₀ sinh θ solves the linear phase, t = ∫dθ s^{2−L}/‖Σ_y‖."""
    strength = moments.cross.norm(dim=-1)
    if depth == 2:
        return -u0.log() / strength
    blocks = sum(moments.target(m).norm(dim=-1) for m in (0, 1))
    overlap = blocks / strength / math.sqrt(2)
    if min(moments.dims) == max(moments.dims) == 1:
        overlap = moments.cross.sum(-1) / strength / math.sqrt(2)
    theta = torch.linspace(0, 60, 40 * NODES + 1, dtype=torch.float64)
    growth = math.sqrt(2) * (theta.cosh() + overlap[..., None] * theta.sinh())
    integral = torch.trapezoid(growth ** (2 - depth), theta, dim=-1)
    return u0 ** (2 - depth) * integral / strength
