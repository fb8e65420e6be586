"""The multimodal restricted Boltzmann machine, with an exact oracle by enumeration of its visible units."""

from __future__ import annotations

from collections.abc import Mapping
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
    r"""Groups of binary visible units, one a modality, that share binary hidden units.

    .. math:: E(x,h) = -\sum_m \big(x_m^\top W_m h + a_m^\top x_m\big) - b^\top h, \qquad
        F(x) = -\sum_m a_m^\top x_m - \sum_k \mathrm{softplus}\Big(b + \sum_m W_m^\top x_m\Big)_k

    The paper's machine has two groups, x and y. Tensors that require gradients pass them on.

    Shape: ``weights[m]`` [*batch_shape, D_m, H], ``biases[m]`` [*batch_shape, D_m], ``hidden`` [*batch_shape, H].

    :raises ArgumentError: no group, other groups in weights than in biases, or shapes that do not fit together.

    Source: Sohn, Shang and Lee 2014, the MRBM (code).

    >>> zero = torch.zeros
    >>> machine = MultimodalRBM({"x": zero(2, 3), "y": zero(1, 3)}, {"x": zero(2), "y": zero(1)}, zero(3))
    >>> float(machine.log_law().exp().sum())
    1.0
    """

    weights: Mapping[str, Tensor]
    biases: Mapping[str, Tensor]
    hidden: Tensor

    def __post_init__(self) -> None:
        if not self.weights or set(self.weights) != set(self.biases):
            raise ArgumentError(
                f"rbm: expected weights and biases of the same groups, found {list(self.weights)} and {list(self.biases)}"
            )
        for m, w in self.weights.items():
            wanted = (*self.hidden.shape[:-1], self.biases[m].shape[-1], self.hidden.shape[-1])
            if tuple(w.shape) != wanted or self.biases[m].shape != w.shape[:-1]:
                raise ArgumentError(
                    f"rbm: expected weights and biases of {m!r} of shapes {wanted} and {wanted[:-1]}, found {tuple(w.shape)} and {tuple(self.biases[m].shape)}"
                )

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups in their order."""
        return tuple(self.weights)

    @property
    def widths(self) -> dict[str, int]:
        """Visible units of each group."""
        return {m: w.shape[-2] for m, w in self.weights.items()}

    @property
    def batch_shape(self) -> torch.Size:
        """The replicate axes in front of every parameter."""
        return self.hidden.shape[:-1]

    def checked(self, x: Mapping[str, Tensor]) -> None:
        """Fail with a sentence unless these are this machine's visible units; looks at shapes alone.

        :raises ArgumentError: an unknown group, or another width than the machine's.
        """
        for m, part in x.items():
            if m not in self.weights:
                raise ArgumentError(f"rbm: expected groups among {', '.join(self.groups)}, found {m!r}")
            if part.shape[-1] != self.widths[m]:
                raise ArgumentError(f"rbm: expected {self.widths[m]} units of {m}, found {part.shape[-1]}")

    def drive(self, x: Mapping[str, Tensor]) -> Tensor:
        """Input of the hidden units, b + Σ W_mᵀ x_m; a group that is not there leaves its part out.

        Shape: x[m] [*batch_shape, n, D_m] -> [*batch_shape, n, H].

        :raises ArgumentError: an unknown group or another width.
        """
        self.checked(x)
        total = self.hidden.unsqueeze(-2)
        for m, part in x.items():
            total = total + part @ self.weights[m]
        return total

    def visible(self, h: Tensor, group: str) -> Tensor:
        """Probabilities of a group's units given hidden states or their probabilities, [*batch_shape, n, D_m]."""
        return torch.sigmoid(h @ self.weights[group].mT + self.biases[group].unsqueeze(-2))

    def free_energy(self, x: Mapping[str, Tensor]) -> Tensor:
        """F of the visible states of every group, hidden units summed out: [*batch_shape, n].

        :raises ArgumentError: a group missing, an unknown one, or another width.
        """
        if missing := [m for m in self.groups if m not in x]:
            raise ArgumentError(f"rbm: expected visibles of {', '.join(self.groups)}, found none of {missing[0]!r}")
        hidden = softplus(self.drive(x)).sum(-1)
        own = [(x[m] * self.biases[m].unsqueeze(-2)).sum(-1) for m in self.groups]
        return -torch.stack(own).sum(0) - hidden

    def log_law(self) -> Tensor:
        """ln P(x) for every state, first unit of a group counting most: [*batch_shape, 2^D_1, …, 2^D_M].

        :raises NotExactError: more than 16 visible units.
        """
        units = sum(self.widths.values())
        if units > MOST_UNITS:
            raise NotExactError(f"rbm: expected at most {MOST_UNITS} visible units to enumerate, found {units}")
        lead, count = self.batch_shape, len(self.groups)
        drive = self.hidden.reshape(*lead, *(1,) * count, -1)
        own = self.hidden.new_zeros(())
        for k, (m, d) in enumerate(self.widths.items()):
            code = states(d).to(self.hidden)
            shape = (*lead, *(2**d if i == k else 1 for i in range(count)))
            drive = drive + (code @ self.weights[m]).reshape(*shape, -1)
            own = own + (code @ self.biases[m].unsqueeze(-1)).reshape(shape)
        table = own + softplus(drive).sum(-1)
        return table - table.flatten(-count).logsumexp(-1).reshape(*lead, *(1,) * count)


def states(units: int) -> Tensor:
    """Every state of so many binary units, [2^units, units], counting up with the last unit fastest.

    >>> states(2).tolist()
    [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    """
    code = torch.arange(2**units)[:, None] >> torch.arange(units - 1, -1, -1)
    return (code & 1).to(torch.float64)


def binary(x: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The visibles themselves, if all are probabilities or bits; waits for the device.

    :raises ArgumentError: numbers outside [0, 1], NaN included.

    >>> binary({"x": torch.tensor([0.0, 1.0])})["x"].tolist()
    [0.0, 1.0]
    """
    for m, part in x.items():
        outside = ~((part >= 0) & (part <= 1))
        if bool(outside.any()):
            raise ArgumentError(f"rbm: expected visibles of {m} in [0, 1], found {float(part[outside][0]):g}")
    return x
