"""NGDiff: normalised gradients added or subtracted, and the GeN automatic learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._certificate import Certificate, certify_nnqp
from ._checks import beside, within
from ._nnqp import nnqp
from ._weighting import Weighting

PAIR = 2


@final
@dataclass(frozen=True)
class NGDiff(Weighting):
    r"""Learn the objectives of sign +1, unlearn those of sign −1, each with a gradient of length one.

    .. math:: d = \sum_i s_i\, g_i / \|g_i\|, \qquad m = 2:\; \|d\|^2 = 2(1 - s\cos), \quad s_i \langle g_i, d\rangle = \|g_i\|(1 - \cos) \ge 0

    For two objectives no one moves the wrong way. With more, the sum is projected on the cone where none does (``nnqp`` on the signed unit
    rows), which changes nothing where the sum is already inside. A zero gradient counts nothing.

    :param signs: +1 or −1 an objective; None retains the first and forgets all the others; all +1 is the sum of unit gradients.
    :raises ArgumentError: another sign, or another length than the Gramian.

    Source: Bu et al. 2025 (paper) for two objectives; more are derived here.

    >>> NGDiff().weights(torch.tensor([[4.0, 0.0], [0.0, 1.0]])).tolist()
    [0.5, -1.0]
    """

    name: ClassVar[str] = "ngdiff"
    degree: ClassVar[float | None] = -1.0
    symmetric: ClassVar[bool] = False

    signs: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.signs is not None and not all(s in {-1, 1} for s in self.signs):
            raise ArgumentError(f"signs: expected +1 or -1 for each objective, found {self.signs}")

    def solve(self, gramian: Tensor) -> Tensor:
        cosines, scale = self._signed(gramian)
        if gramian.shape[-1] == PAIR:
            return scale  # two unit vectors' sum never stands against either
        return scale * (1 + nnqp(cosines, cosines.sum(-1)))

    def _signed(self, gramian: Tensor) -> tuple[Tensor, Tensor]:
        """Gramian of the signed unit rows, and s_i/‖g_i‖."""
        m = gramian.shape[-1]
        signs = (1, *(-1 for _ in range(m - 1))) if self.signs is None else self.signs
        if len(signs) != m:
            raise ArgumentError(f"signs: expected {m} entries, one an objective, found {len(signs)}")
        norms = gramian.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
        scale = torch.where(norms > 0, beside(signs, gramian) / norms, 0.0)
        return gramian * scale[..., :, None] * scale[..., None, :], scale

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        G, w = gramian.detach().double(), weights.detach().double()
        cosines, scale = self._signed(G)
        z = torch.where(scale != 0, w / torch.where(scale != 0, scale, 1.0) - 1, 0.0)
        return certify_nnqp(cosines, cosines.sum(-1), z)


def gen_rate(below: Tensor, here: Tensor, above: Tensor, rate: Tensor, *, memory: float = 0.9) -> Tensor:
    r"""The next learning rate from three losses along the update direction, forward passes only.

    .. math:: \eta^* = \frac{\eta}{2}\,\frac{L_- - L_+}{L_+ - 2L_0 + L_-}, \qquad \eta \leftarrow a\,\eta + (1 - a)\,\mathrm{clip}(\eta^*, \eta/2, 2\eta)

    L_± = L(θ − (±η) u): ``above`` is the loss after a step, ``below`` after a step backwards. On a quadratic η* is the exact line search.
    Where the parabola opens downwards or the loss rises along u, the rate stays.

    :param memory: a; 0 jumps to the clipped optimum.
    :raises ArgumentError: memory outside [0, 1].

    Source: Bu & Xu 2025, GeN, and the rule of its public code (paper).

    >>> float(gen_rate(*(torch.tensor(x) for x in (4.0, 1.0, 0.0, 0.5)), memory=0.0))
    0.5
    """
    return _blend(gen_optimum(below, here, above, rate), rate, memory)


def gen_step(
    loss: Callable[[Tensor], Tensor], start: Tensor, move: Tensor, factor: Tensor, here: Tensor, *, memory: float = 0.9
) -> Tensor:
    r"""The next factor on a proposed move, from the losses on either side of it: two forward passes.

    .. math:: L_\pm = L(\theta \pm s\,u), \qquad s^* = \frac{g^\top(-u)}{u^\top H u} \text{ on a quadratic}, \qquad s \leftarrow \text{gen\_rate}(L_-, L_0, L_+, s)

    On a quadratic the factor approaches s* from its own side and never passes it: |s' − s*| = a |s − s*| once s lies within a factor 2 of s*,
    so that a step from s ≤ s* lowers the loss by at least (1 − (1 − s/s*)²) of what the exact line search does.

    Shape: start and move ``[*batch, P]``, factor and here (the loss at start) ``[*batch]``; ``loss`` maps ``[*batch, P]`` to ``[*batch]``.

    :param memory: a; 0 jumps to the clipped optimum.
    :raises ArgumentError: memory outside [0, 1].

    Source: Bu & Xu 2025, GeN (paper); the contraction is derived here.

    >>> x = torch.tensor([4.0])
    >>> gen_step(lambda p: (p**2).sum(-1) / 2, x, -x, torch.tensor(0.75), torch.tensor(8.0), memory=0.0).item()
    1.0
    """
    moved = factor[..., None] * move
    below, above = loss(start - moved), loss(start + moved)
    dtype = factor.dtype
    return gen_rate(below.to(dtype), here.to(dtype), above.to(dtype), factor, memory=memory)


def gen_optimum(below: Tensor, here: Tensor, above: Tensor, rate: Tensor) -> Tensor:
    r"""The least point of the parabola through three losses along a direction; NaN where they show no descent or no upward parabola.

    .. math:: \eta^* = \frac{\eta}{2}\,\frac{L_- - L_+}{L_+ - 2L_0 + L_-}

    Exact for a quadratic loss, in one call and from any η.

    Shape: four tensors ``[*batch]``, result alike.

    :param below: L₋, the loss a step η against the direction; ``here`` L₀ without a step, ``above`` L₊ after one.

    Source: Bu & Xu 2025, GeN (paper).

    >>> losses = [torch.tensor((t - 3.0) ** 2) for t in (-1, 0, 1)]
    >>> float(gen_optimum(*losses, torch.tensor(1.0)))
    3.0
    """
    bend, fall = above - 2 * here + below, below - above
    usable = (bend > 0) & (fall > 0)
    return torch.where(usable, rate / 2 * fall / torch.where(usable, bend, 1.0), torch.nan)


def _blend(optimum: Tensor, rate: Tensor, memory: float) -> Tensor:
    """The running mean with the clipped optimum; the rate itself where there is none."""
    within("memory", memory, 0.0, 1.0)
    clipped = torch.minimum(torch.maximum(optimum, rate / 2), 2 * rate)
    return torch.where(optimum.isnan(), rate, memory * rate + (1 - memory) * clipped)
