"""CAGrad's inner programme for batches on the host, the batch as the last axis: support and parameter are found together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ._cagrad_path import Inner
from ._lanes import in_lanes
from ._nnqp import scaled
from ._pivot_lanes import ITEMS, eliminated, times

EPS = float(np.finfo(np.float64).eps)
ROUNDS = 10
VANISHING = 1e-12  # of the shortest row's square: a shorter g_u is 0 or all but 0, which asks for more than signs


class _Open(NamedTuple):
    """Programmes still open, every part with its items last: G + κ11ᵀ in near-cosines with its row scales, and where the path stands."""

    G: Tensor
    h: Tensor
    phi: Tensor
    cosines: Tensor
    inverse: Tensor
    least: Tensor
    s: Tensor
    inside: Tensor


def path_in_lanes(inner: Inner) -> tuple[Tensor, Tensor]:
    r"""A stack of programmes ``[n, m]``: their points, and which of them are certain.

    On a support S the minimisers of ½uᵀGu + s hᵀu lie on a line u = a + sb, and ‖g_u‖ = s√φ at one s of it (see ``Inner``). Each round goes
    there and exchanges whatever has a wrong sign, so that support and s are found by one sequence of systems; a point without wrong signs
    meets all conditions of the programme, however it was found.
    """
    parts = [_pieces_joined(Inner(*piece)) for piece in zip(*(part.split(ITEMS) for part in inner), strict=True)]
    return torch.cat([u for u, _ in parts], -1).mT, torch.cat([done for _, done in parts])


def _pieces_joined(inner: Inner) -> tuple[Tensor, Tensor]:
    """The same ``[m, n]`` for as many as are solved together."""
    diagonal = inner.G.diagonal(dim1=-2, dim2=-1)
    kappa = torch.where(diagonal > 0, diagonal, torch.inf).amin(-1)[:, None, None].nan_to_num(posinf=1.0)
    problem = scaled(inner.G + kappa, inner.h)
    h = in_lanes(inner.h)
    now = _Open(
        in_lanes(inner.G), h, inner.phi, in_lanes(problem.cosines), in_lanes(problem.inverse),
        VANISHING * kappa[:, 0, 0], (inner.size / inner.phi).sqrt(), torch.ones_like(h, dtype=torch.bool),
    )  # fmt: skip
    points, certain = torch.zeros_like(h), torch.zeros_like(h[0], dtype=torch.bool)
    places = torch.arange(h.shape[-1])
    for _ in range(ROUNDS):
        now, u, done = _round(now)
        points[:, places], certain[places] = torch.where(done, u, points[:, places]), done
        left = torch.from_numpy(np.flatnonzero(~done.numpy()))
        if not len(left):
            break
        places, now = places[left], _Open(*(part[..., left] for part in now))
    return points, certain


def _round(now: _Open) -> tuple[_Open, Tensor, Tensor]:
    """The crossing on the present supports, what is wrong with it exchanged, and where nothing is."""
    right = torch.stack((now.inverse, now.h * now.inverse))
    solved, regular = eliminated(now.cosines, right, now.inside)
    ones, pull = solved * now.inverse
    a = ones / ones.sum(0)
    b = a * pull.sum(0) - pull
    flat = torch.zeros_like(a)
    start, slope = ((v * times(now.G, v, flat.clone())).sum(0) for v in (a, b))
    crossing = (start.clamp(min=0) / (now.phi - slope)).sqrt()
    crosses = (now.phi > slope) & crossing.isfinite()
    # A line that never gets there is left well behind the place where it leaves the simplex.
    end = torch.where(b < 0, a / -b, torch.inf).clamp(min=0).amin(0).nan_to_num(posinf=1.0)
    s = torch.where(crosses, crossing, torch.maximum(2 * end, now.s))
    u = a + s * b
    slopes = times(now.G, u, s * now.h)
    noise = 8 * len(u) * EPS * times(now.G.abs(), u.abs(), s * now.h.abs())
    level = (slopes * u).sum(0)
    wrong = torch.where(now.inside, u < 0, slopes + noise < level)
    # A support on which a pivot vanished, or all of which would leave, is for other routes.
    inside = now.inside ^ wrong
    sound = regular & (slopes + noise >= level).all(0) & (s**2 * now.phi > now.least)
    return now._replace(s=s, inside=inside), u, sound & crosses & ~wrong.any(0)
