"""Empirical Rademacher complexities: suprema in closed form, expectations exactly or with a stated radius.

The convention throughout: R̂_S(F) = E_σ sup_{f∈F} (1/m) Σ σ_i f(z_i), no absolute value, no factor two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream
from mmtheory.stats import Interval

Norm = Literal["l1", "l2"]
Supremum = Callable[[Tensor], Tensor]


def ball_supremum(x: Tensor, signs: Tensor, radius: float, *, norm: Norm = "l2") -> Tensor:
    r"""sup over ‖w‖ ≤ B of (1/m) Σ σ_i ⟨w, x_i⟩ for each sign vector: B/m times the dual norm of Σ σ_i x_i.

    Shape: x [*batch, m, d], signs [k, m] to [*batch, k].

    >>> ball_supremum(torch.eye(2), torch.ones(1, 2), 3.0, norm="l1").item()
    1.5
    """
    if radius < 0 or norm not in {"l1", "l2"}:
        raise ArgumentError(f"ball_supremum: expected radius >= 0 and norm l1 or l2, found {radius}, {norm!r}")
    total = signs.to(x.dtype) @ x
    dual = total.abs().amax(-1) if norm == "l1" else torch.linalg.vector_norm(total, dim=-1)
    return radius / x.shape[-2] * dual


def product_supremum(parts: Sequence[Tensor], signs: Tensor, radii: Sequence[float]) -> Tensor:
    """sup over late-fusion classes Σ_m ⟨w_m, x_m⟩ with ‖w_m‖₂ ≤ B_m: the sum of the modalities' own suprema, for every sign vector.

    Source: derived here (a supremum over a product splits).
    """
    own = [ball_supremum(x, signs, b) for x, b in zip(parts, radii, strict=True)]
    return torch.stack(own).sum(0)


def group_supremum(parts: Sequence[Tensor], signs: Tensor, radius: float) -> Tensor:
    """sup over Σ_m ‖w_m‖₂ ≤ B: the largest of the modalities' own suprema."""
    return torch.stack([ball_supremum(x, signs, radius) for x in parts]).amax(0)


def every_sign(m: int) -> Tensor:
    """All 2^m sign vectors, [2^m, m].

    >>> every_sign(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if not 1 <= m <= 20:
        raise ArgumentError(f"every_sign: expected 1 to 20 points, found {m}")
    bits = (torch.arange(2**m).unsqueeze(-1) >> torch.arange(m)) & 1
    return bits.to(torch.float64) * 2 - 1


def sampled(supremum: Supremum, envelope: Tensor, *, draws: int, alpha: float, stream: Stream) -> Interval:
    r"""R̂_S from random sign vectors and their mirror images, with McDiarmid's radius.

    .. math:: |\text{mean} - \hat R_S| \le \sqrt{2V\ln(2/\alpha)/\text{draws}}, \qquad V = \sum_i (\sup_f |f(x_i)|/m)^2

    :param supremum: signs [k, m] to suprema [k].
    :param envelope: sup_f |f(x_i)| at each point, [m].
    :param draws: pairs (σ, −σ).

    Source: derived here.
    """
    m = envelope.shape[-1]
    signs = stream.draws().signs("rademacher", draws, m)
    mean = float((supremum(signs) + supremum(-signs)).mean()) / 2
    proxy = float(((envelope.double() / m) ** 2).sum())
    return Interval.around(mean, math.sqrt(2 * proxy * math.log(2 / alpha) / draws), alpha).clipped(0.0, math.inf)


def khintchine_bracket(x: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    r"""Two-sided bound on R̂_S of the ℓ2 ball, [1/√2, 1]·(B/m)·√Σ‖x_i‖². Shape: x [*batch, m, d] to [*batch] twice.

    Source: Khintchine–Kahane with Latała and Oleszkiewicz's constant 1994 (known).
    """
    top = radius / x.shape[-2] * torch.linalg.vector_norm(x.flatten(-2), dim=-1)
    return top / math.sqrt(2), top


def expected_absolute_sum(n: Tensor) -> Tensor:
    r"""E|σ_1 + … + σ_n|, exactly.

    .. math:: e(n) = n\binom{n-1}{\lfloor (n-1)/2\rfloor} 2^{-(n-1)}

    >>> expected_absolute_sum(torch.arange(1, 7)).tolist()
    [1.0, 1.0, 1.5, 1.5, 1.875, 1.875]
    """
    k = n.double().clamp(min=1)
    half = ((k - 1) / 2).floor()
    log = torch.lgamma(k) - torch.lgamma(half + 1) - torch.lgamma(k - half) - (k - 1) * math.log(2)
    value = k * log.exp()
    exact = torch.tensor(
        [j * math.comb(j - 1, (j - 1) // 2) / 2 ** (j - 1) for j in range(1, 65)], dtype=torch.float64, device=n.device
    )
    small = exact[(n.long() - 1).clamp(0, 63)]
    return torch.where(n <= 0, 0.0, torch.where(n <= 64, small, value))


def labelling_complexity(counts: Tensor) -> Tensor:
    r"""R̂_S of all ±1 labellings of cells, given how many of the m points fell into each.

    .. math:: \hat R_S = \frac1m \sum_c e(m_c)

    The 0–1 loss class of these labellings has half of it.

    Shape: counts [*batch, cells] to [*batch].

    Source: derived here.

    >>> labelling_complexity(torch.tensor([2, 2])).item()
    0.5
    """
    return expected_absolute_sum(counts).sum(-1) / counts.sum(-1)


def massart(values: Tensor) -> Tensor:
    """Massart's bound for finitely many functions by their values on the sample: max_f ‖f‖₂ √(2 ln N)/m. Shape: [*batch, N, m] to [*batch].

    Source: Massart 2000 (known).
    """
    size, m = values.shape[-2:]
    return torch.linalg.vector_norm(values, dim=-1).amax(-1) * math.sqrt(2 * math.log(size)) / m


def deep_bound(x: Tensor, norm: float, depth: int) -> Tensor:
    r"""Bound for depth-D positively homogeneous networks whose layers' Frobenius norms multiply to at most ``norm``.

    .. math:: \frac{M_F(\sqrt{2D\ln 2} + 1)}{m}\sqrt{\sum_i \|x_i\|^2}

    Source: Golowich, Rakhlin, Shamir 2018 (known).
    """
    return (
        norm * (math.sqrt(2 * depth * math.log(2)) + 1) * torch.linalg.vector_norm(x.flatten(-2), dim=-1) / x.shape[-2]
    )
