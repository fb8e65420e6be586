"""PCD: follow the primary objective as closely as every secondary one's share allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from ._certificate import Certificate, certify_nnqp, product, squared_norm
from ._checks import numbers, within
from ._nnqp import nnqp, pivot_one
from ._weighting import Stateful

INFEASIBLE = 1e-9


class NormState(NamedTuple):
    """The running squared norms ``[*batch, m]`` and the number of steps behind them."""

    squares: Tensor
    steps: int


@final
@dataclass(frozen=True)
class PCD(Stateful[NormState]):
    r"""Priority-constrained descent; the first objective is the primary one.

    .. math:: \tilde d = \arg\min_d \tfrac12\|d - \tilde g_1\|^2 \;\text{ s.t. }\; \langle\tilde g_j, d\rangle \ge \tau\|\tilde g_j\|^2 \; (j \ge 2),
        \qquad d = \tilde d\, \|g_1\| / \|\tilde d\|

    g̃_i are the gradients over the root of a bias-corrected running mean of their squared norms. Constraints that contradict each other are
    dropped, and d = g_1; the certificate's ``dual`` shows it.

    :param tau: share of first-order progress promised to each secondary objective; 0 asks only that none rises.
    :param beta: memory of the norms; 0 normalises by the present ones.
    :raises ArgumentError: tau outside [0, 1], beta outside [0, 1].

    Source: arXiv:2606.29521 (paper), as stated by TorchJD 0.18.

    >>> PCD(tau=0.0).weights(torch.tensor([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 0.0]
    """

    name: ClassVar[str] = "pcd"
    degree: ClassVar[float | None] = 0.0
    symmetric: ClassVar[bool] = False

    tau: float = 0.02
    beta: float = 0.999

    def __post_init__(self) -> None:
        within("tau", self.tau, 0.0, 1.0)
        within("beta", self.beta, 0.0, 1 - 1e-12)

    def initial(self, gramian: Tensor) -> NormState:
        return NormState(torch.zeros_like(gramian[..., 0], dtype=torch.float64), 0)

    def advance(self, gramian: Tensor, state: NormState) -> tuple[Tensor, NormState]:
        squares = self.beta * state.squares + (1 - self.beta) * gramian.diagonal(dim1=-2, dim2=-1)
        after = NormState(squares, state.steps + 1)
        mean = squares / (1 - self.beta**after.steps)
        one, means = (numbers(gramian), numbers(mean)) if gramian.ndim == 2 else (None, None)
        found = None if one is None or means is None else _of_one(one, means, self.tau)
        if found is not None:
            return torch.from_numpy(found), after
        scale = torch.where(mean > 0, mean.rsqrt(), 0.0)
        normal = gramian * scale[..., :, None] * scale[..., None, :]
        block, linear = self._programme(normal)
        z = nnqp(block, linear)
        kept = (certify_nnqp(block, linear, z).dual <= INFEASIBLE)[..., None]
        direction = torch.cat((torch.ones_like(z[..., :1]), torch.where(kept, z, 0.0)), -1)
        length = squared_norm(normal, direction)
        # Zero to within the rounding of its own terms.
        noise = 1e-15 * (direction * normal.diagonal(dim1=-2, dim2=-1).sqrt()).sum(-1) ** 2
        moving = length > noise
        factor = torch.where(moving, gramian[..., 0, 0] / torch.where(moving, length, 1.0), 0.0).sqrt()
        return direction * scale * factor[..., None], after

    def _programme(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Quadratic and linear term of the dual over the secondary objectives."""
        block = normal[..., 1:, 1:]
        return block, normal[..., 1:, 0] - self.tau * block.diagonal(dim1=-2, dim2=-1)

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """The gap of the first step's programme (norms of this very Gramian)."""
        G, w = gramian.detach().double(), weights.detach().double()
        norms = G.diagonal(dim1=-2, dim2=-1).sqrt()
        scale = torch.where(norms > 0, 1 / norms, 0.0)
        block, linear = self._programme(G * scale[..., :, None] * scale[..., None, :])
        lead = w[..., :1] * norms[..., :1]
        z = torch.where(lead > 0, w[..., 1:] * norms[..., 1:] / torch.where(lead > 0, lead, 1.0), 0.0)
        parts = certify_nnqp(block, linear, z)
        return Certificate(parts.gap, parts.primal, parts.dual, parts.complementarity, (w * product(G, w)).sum(-1))


def _of_one(G: np.ndarray, means: np.ndarray, tau: float) -> np.ndarray | None:
    """The same for one Gramian on the host; None where the kernel has to cope with dependent rows."""
    scale = np.divide(1.0, np.sqrt(means), out=np.zeros(len(G)), where=means > 0)
    normal = G * scale * scale[:, None]
    block = normal[1:, 1:]
    linear = normal[1:, 0] - tau * block.diagonal()
    lengths = block.diagonal()
    if len(lengths) == 1:
        z = np.maximum(-linear, 0.0) / (lengths if lengths[0] > 0 else 1.0)
    elif lengths.min() <= 0:
        return None
    else:
        inverse = np.ldexp(1.0, -np.frexp(np.sqrt(lengths))[1])
        found = pivot_one(block * inverse * inverse[:, None], linear * inverse)
        if found is None:
            return None
        z = found * inverse
    if (block @ z + linear).min() < -INFEASIBLE:
        z = np.zeros_like(z)
    direction = np.concatenate((np.ones(1), z))
    length = float(direction @ normal @ direction)
    noise = 1e-15 * float(direction @ np.sqrt(normal.diagonal())) ** 2
    factor = (G[0, 0] / length) ** 0.5 if length > noise else 0.0
    return direction * scale * factor
