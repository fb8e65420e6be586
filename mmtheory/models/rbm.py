"""The multimodal restricted Boltzmann machine, with an exact oracle by enumeration of its visible units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmtheory.errors import ArgumentError, NotExactError

MOST_UNITS = 16


@final
@dataclass(frozen=True)
class MultimodalRBM:
    r"""Two groups of binary visible units that share binary hidden units.

    .. math:: E(x,y,h) = -x^\top Wh - y^\top Vh - a^\top x - c^\top y - b^\top h, \qquad
        F(x,y) = -a^\top x - c^\top y - \sum_k \mathrm{softplus}(x^\top W + y^\top V + b)_k

    Shape: ``w`` [*batch_shape, D_x, H], ``v`` [*batch_shape, D_y, H], ``a`` [*batch_shape, D_x], ``c`` [*batch_shape, D_y],
    ``b`` [*batch_shape, H]. Tensors that require gradients pass them on.

    :raises ArgumentError: shapes that do not fit together.

    Source: Sohn, Shang and Lee 2014, the MRBM (code).

    >>> zero = torch.zeros
    >>> float(MultimodalRBM(zero(2, 3), zero(1, 3), zero(2), zero(1), zero(3)).log_law().exp().sum())
    1.0
    """

    w: Tensor
    v: Tensor
    a: Tensor
    c: Tensor
    b: Tensor

    def __post_init__(self) -> None:
        wanted = (
            (*self.b.shape[:-1], self.a.shape[-1], self.b.shape[-1]),
            (*self.b.shape[:-1], self.c.shape[-1], self.b.shape[-1]),
        )
        if (tuple(self.w.shape), tuple(self.v.shape)) != wanted:
            raise ArgumentError(
                f"rbm: expected w and v of shapes {wanted}, found {tuple(self.w.shape)}, {tuple(self.v.shape)}"
            )

    @property
    def widths(self) -> tuple[int, int]:
        """D_x and D_y."""
        return self.a.shape[-1], self.c.shape[-1]

    def drive(self, x: Tensor | None = None, y: Tensor | None = None) -> Tensor:
        """Input of the hidden units: xᵀW + yᵀV + b, a missing group leaving its part out.

        Shape: x [*batch_shape, n, D_x], y [*batch_shape, n, D_y] -> [*batch_shape, n, H].
        """
        total = self.b.unsqueeze(-2)
        total = total if x is None else total + x @ self.w
        return total if y is None else total + y @ self.v

    def free_energy(self, x: Tensor, y: Tensor) -> Tensor:
        """F of visible states, hidden units summed out: [*batch_shape, n].

        :raises ArgumentError: visibles outside [0, 1].
        """
        for name, part in (("x", x), ("y", y)):
            if not bool(((part >= 0) & (part <= 1)).all()):
                raise ArgumentError(f"rbm: expected visibles {name} in [0, 1], found some outside")
        own = (x * self.a.unsqueeze(-2)).sum(-1) + (y * self.c.unsqueeze(-2)).sum(-1)
        return -own - softplus(self.drive(x, y)).sum(-1)

    def log_law(self) -> Tensor:
        """ln P(x, y) for every state, first unit of a group counting most: [*batch_shape, 2^D_x, 2^D_y].

        :raises NotExactError: more than 16 visible units.
        """
        dx, dy = self.widths
        if dx + dy > MOST_UNITS:
            raise NotExactError(f"rbm: expected at most {MOST_UNITS} visible units to enumerate, found {dx + dy}")
        xs, ys = (states(d).to(self.b) for d in (dx, dy))
        part_x, part_y = xs @ self.w, ys @ self.v
        hidden = softplus(part_x.unsqueeze(-2) + part_y.unsqueeze(-3) + self.b[..., None, None, :]).sum(-1)
        table = hidden + (xs @ self.a.unsqueeze(-1)) + (ys @ self.c.unsqueeze(-1)).mT
        return table - table.flatten(-2).logsumexp(-1)[..., None, None]

    def mean_field(self, x: Tensor, *, sweeps: int) -> Tensor:
        r"""Probabilities of y's units inferred from x by recurrent sweeps, x counted twice before the first.

        .. math:: h^0 = \sigma(2\,W^\top x + b), \qquad \hat y^t = \sigma(Vh^{t-1} + c), \quad h^t = \sigma(W^\top x + V^\top\hat y^t + b)

        An approximation of P(y|x), not its equal, however many sweeps there are.

        Shape: x [*batch_shape, n, D_x] -> [*batch_shape, n, D_y].

        :param sweeps: top → y → top; 0 reads y off the first guess of h.
        :raises ArgumentError: a negative number of sweeps.

        Source: Sohn, Shang and Lee 2014, the recurrent inference (code).
        """
        if sweeps < 0:
            raise ArgumentError(f"rbm: expected sweeps >= 0, found {sweeps}")
        h = torch.sigmoid(self.drive(x) + x @ self.w)
        for _ in range(sweeps):
            h = torch.sigmoid(self.drive(x, self._down(h)))
        return self._down(h)

    def _down(self, h: Tensor) -> Tensor:
        return torch.sigmoid(h @ self.v.mT + self.c.unsqueeze(-2))

    def swapped(self) -> MultimodalRBM:
        """The same machine with its groups' names exchanged."""
        return MultimodalRBM(self.v, self.w, self.c, self.a, self.b)


def states(units: int) -> Tensor:
    """Every state of so many binary units, [2^units, units], counting up with the last unit fastest.

    >>> states(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    code = torch.arange(2**units)[:, None] >> torch.arange(units - 1, -1, -1)
    return (code & 1).to(torch.float64)
