"""GradVac: gradients rotated until their cosines reach a running target."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from mmtheory.rng import Stream

from ._checks import numbers, within
from ._lanes import in_lanes
from ._orders import checked_orders, drawn_orders, shared_order
from ._weighting import Stateful

ITEMS = 1024  # solved together: of eight objectives' products and targets, several copies stay in the cache


class VaccineState(NamedTuple):
    """The number of the step and the targets φ_ij ``[*batch, m, m]``."""

    step: int
    targets: Tensor


@final
@dataclass(frozen=True)
class GradVac(Stateful[VaccineState]):
    r"""PCGrad with learnt targets in place of zero.

    .. math:: c = \cos(v, g_j) < \varphi_{ij}: \quad v \leftarrow v + \|v\|\,\frac{\varphi\sqrt{1-c^2} - c\sqrt{1-\varphi^2}}{\|g_j\|\sqrt{1-\varphi^2}}\, g_j,
        \qquad \varphi \leftarrow (1-\beta)\varphi + \beta c

    The first step has φ = 0 and is PCGrad.

    :param beta: how fast the targets follow the measured cosines; 0 keeps them at zero (PCGrad at every step).
    :param stream: where the orders come from.
    :raises ArgumentError: beta outside [0, 1].

    Source: Wang et al. 2021 (paper).

    >>> GradVac().weights(torch.tensor([[1.0, -0.5], [-0.5, 1.0]])).tolist()
    [1.5, 1.5]
    """

    name: ClassVar[str] = "gradvac"
    degree: ClassVar[float | None] = 0.0
    symmetric: ClassVar[bool] = False

    beta: float = 0.5
    stream: Stream = field(default_factory=lambda: Stream(0, ("gradvac",)))

    def __post_init__(self) -> None:
        within("beta", self.beta, 0.0, 1.0)

    def initial(self, gramian: Tensor) -> VaccineState:
        return VaccineState(0, torch.zeros_like(gramian, dtype=torch.float64))

    def advance(self, gramian: Tensor, state: VaccineState) -> tuple[Tensor, VaccineState]:
        m = gramian.shape[-1]
        orders = checked_orders(drawn_orders(m, self.stream, state.step, gramian.device), gramian)
        one = tuple(numbers(t) for t in (gramian, orders, state.targets)) if gramian.ndim == 2 else ()
        G, turns, aims = one or (None, None, None)
        if G is not None and turns is not None and aims is not None:
            weights, after = _of_one(G, turns, aims, self.beta)
            return torch.from_numpy(weights), VaccineState(state.step + 1, torch.from_numpy(after))
        if (
            (G is None or turns is None)
            and (shared := shared_order(orders)) is not None
            and numbers(gramian) is not None
        ):
            flat = zip(
                gramian.reshape(-1, m, m).split(ITEMS), state.targets.reshape(-1, m, m).split(ITEMS), strict=True
            )
            found = [_of_many(in_lanes(part), shared, in_lanes(aim), self.beta) for part, aim in flat]
            weights = torch.cat([w for w, _ in found], -1).mT.reshape(gramian.shape[:-1])
            after = torch.cat([aim for _, aim in found], -1).movedim(-1, 0).reshape(gramian.shape)
            return weights, VaccineState(state.step + 1, after)
        norms = gramian.diagonal(dim1=-2, dim2=-1).sqrt()
        # The products ⟨v_i, g_j⟩ are kept beside the weights of v_i.
        parts = torch.eye(m, dtype=gramian.dtype, device=gramian.device).expand(gramian.shape).clone()
        targets, slopes = state.targets, gramian.clone()
        for k in range(m - 1):
            j = orders[..., k]
            length = norms.gather(-1, j)
            slope = slopes.gather(-1, j[..., None])[..., 0]
            own = (parts * slopes).sum(-1).clamp(min=0).sqrt()
            regular = (own > 0) & (length > 0)
            cosine = torch.where(regular, slope / torch.where(regular, own * length, 1.0), 0.0).clamp(-1, 1)
            target = targets.gather(-1, j[..., None])[..., 0]
            flat = (1 - target**2).clamp(min=0).sqrt()
            turn = target * (1 - cosine**2).clamp(min=0).sqrt() - cosine * flat
            active = regular & (cosine < target) & (flat > 0)
            move = torch.where(active, own * turn / torch.where(active, length * flat, 1.0), 0.0)
            parts = parts.scatter_add(-1, j[..., None], move[..., None])
            slopes = torch.addcmul(slopes, move[..., None], gramian.gather(-2, j[..., None].expand(gramian.shape)))
            after = (1 - self.beta) * target + self.beta * cosine
            targets = targets.scatter(-1, j[..., None], after[..., None])
        return parts.sum(-2), VaccineState(state.step + 1, targets)


def _of_many(G: Tensor, orders: list[list[int]], targets: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Weights ``[m, n]`` and targets for Gramians ``[m, m, n]`` with the same orders: every gradient's k-th visit at once.

    Each pair meets once a step, so what depends on targets alone is done for all pairs before, and their new values after.
    """
    m = len(orders)
    rows, visits = torch.arange(m), torch.tensor(orders)
    lengths = G.diagonal().mT
    inverse = torch.where(lengths > 0, lengths.rsqrt(), 0.0)
    flat = (1 - targets**2).clamp(min=0).sqrt()
    ratio = torch.where(flat > 0, targets / flat, 0.0)
    aims = torch.where(flat > 0, targets, -torch.inf)
    total, slopes, own, cosines = torch.ones_like(lengths), G.clone(), lengths.clone(), targets.clone()
    for j in visits.unbind(1):
        slope, scale = slopes[rows, j], inverse[j]
        cosine = (slope * scale * torch.where(own > 0, own.rsqrt(), 0.0)).clamp(-1, 1)
        turn = ratio[rows, j] * (1 - cosine**2).sqrt() - cosine
        move = torch.where(cosine < aims[rows, j], own.clamp(min=0).sqrt() * scale * turn, 0.0)
        total.index_add_(0, j, move)
        # ‖v + a g_j‖² = ‖v‖² + 2a⟨v, g_j⟩ + a²‖g_j‖²
        own = own + move * (2 * slope + move * lengths[j])
        for i, met in enumerate(j.tolist()):
            slopes[i].addcmul_(G[met], move[i])
        cosines[rows, j] = cosine
    return total, torch.where(torch.eye(m, dtype=torch.bool)[..., None], targets, (1 - beta) * targets + beta * cosines)


def _of_one(G: np.ndarray, orders: np.ndarray, targets: np.ndarray, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """The same for one Gramian on the host."""
    m = len(G)
    parts, slopes, rows, targets = np.eye(m), G.copy(), np.arange(m), targets.copy()
    norms = np.sqrt(G.diagonal())
    for k in range(m - 1):
        j = orders[:, k]
        length, target = norms[j], targets[rows, j]
        own = np.sqrt(np.maximum((parts * slopes).sum(1), 0.0))
        scale = own * length
        regular = scale > 0
        cosine = np.clip(np.divide(slopes[rows, j], scale, out=np.zeros(m), where=regular), -1.0, 1.0)
        flat = np.sqrt(np.maximum(1 - target**2, 0.0))
        turn = target * np.sqrt(1 - cosine**2) - cosine * flat
        active = regular & (cosine < target) & (flat > 0)
        move = np.divide(own * turn, length * flat, out=np.zeros(m), where=active)
        parts[rows, j] += move
        slopes += move[:, None] * G[j]
        targets[rows, j] = (1 - beta) * target + beta * cosine
    return parts.sum(0), targets
