"""Entropy, information and least error of tables; a symbol of probability 0 changes nothing and is never divided by."""

from __future__ import annotations

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def entropy(table: Tensor) -> Tensor:
    r"""Shannon entropy.

    .. math:: H = -\sum_x p(x) \ln p(x)

    Shape: table [*batch_shape, x] -> [*batch_shape]. Unit: nat.

    Source: textbook (known).

    >>> import math
    >>> float(entropy(torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64))) == math.log(2)
    True
    """
    return -torch.special.xlogy(table, table).sum(-1)


def conditional_entropy(joint: Tensor) -> Tensor:
    r"""H(Y | X), the mean entropy of the rows.

    .. math:: H(Y|X) = -\sum_{x,y} p(x,y) \ln p(y|x)

    Shape: joint [*batch_shape, x, y] -> [*batch_shape]. Unit: nat.

    Source: textbook (known).

    >>> abs(float(conditional_entropy(torch.eye(2, dtype=torch.float64) / 2)))
    0.0
    """
    return -torch.special.xlogy(joint, posterior(joint)).sum((-2, -1))


def information(joint: Tensor) -> Tensor:
    r"""Mutual information of the two axes.

    .. math:: I(X;Y) = \sum_{x,y} p(x,y) \ln\frac{p(x,y)}{p(x)\,p(y)}

    Shape: joint [*batch_shape, x, y] -> [*batch_shape]. Unit: nat.

    Source: textbook (known).

    >>> import math
    >>> float(information(torch.eye(2, dtype=torch.float64) / 2)) == math.log(2)
    True
    """
    product = joint.sum(-1, keepdim=True) * joint.sum(-2, keepdim=True)
    ratio = torch.where(joint > 0, joint / torch.where(product > 0, product, 1.0), 1.0)
    return torch.special.xlogy(joint, ratio).sum((-2, -1)).clamp(min=0)


def conditional_information(joint: Tensor) -> Tensor:
    r"""I(X; Y | Z) of a table whose last axis is Z.

    .. math:: I(X;Y|Z) = \sum_z p(z)\, I(X;Y|Z=z)

    Shape: joint [*batch_shape, x, y, z] -> [*batch_shape]. Unit: nat.

    Source: textbook (known).

    >>> xor = torch.zeros(2, 2, 2, dtype=torch.float64)
    >>> xor[0, 0, 0] = xor[0, 1, 1] = xor[1, 0, 1] = xor[1, 1, 0] = 0.25
    >>> import math
    >>> float(conditional_information(xor)) == math.log(2)
    True
    """
    mass = joint.sum((-3, -2), keepdim=True)
    slices = (joint / torch.where(mass > 0, mass, 1.0)).movedim(-1, -3)
    return (mass[..., 0, 0, :] * information(slices)).sum(-1)


def posterior(joint: Tensor) -> Tensor:
    """p(y | x) row by row; a row of probability 0 has no posterior and stays 0.

    Shape: joint [*batch_shape, x, y] -> same.

    Source: textbook (known).

    >>> posterior(torch.tensor([[0.2, 0.6], [0.0, 0.0]])).tolist()[1]
    [0.0, 0.0]
    """
    rows = joint.sum(-1, keepdim=True)
    return joint / torch.where(rows > 0, rows, 1.0)


def bayes_error(joint: Tensor) -> Tensor:
    r"""The least probability of error of any guess of y from x.

    .. math:: 1 - \sum_x \max_y p(x,y)

    Shape: joint [*batch_shape, x, y] -> [*batch_shape].

    Source: textbook (known).

    >>> round(float(bayes_error(torch.tensor([[0.4, 0.1], [0.2, 0.3]], dtype=torch.float64))), 12)
    0.3
    """
    # The mass outside the best guess, rather than 1 minus the mass inside it: no cancellation when the error is small.
    rows = joint.sum((-2, -1))
    lost = joint.sum(-1) - joint.amax(-1)
    return torch.where(rows > 0, lost.sum(-1) / torch.where(rows > 0, rows, 1.0), 0.0)


def checked_table(joint: Tensor, *, axes: int, owner: str) -> Tensor:
    """The table in float64, if it is a probability table of at least that many axes; its last rounding is divided out.

    :raises ArgumentError: too few axes, a negative or non-finite entry, or a sum that is not 1 to 1e−9.

    >>> checked_table(torch.tensor([0.5, 0.5]), axes=1, owner="doc").tolist()
    [0.5, 0.5]
    """
    p = torch.as_tensor(joint, dtype=torch.float64)
    if p.dim() < axes:
        raise ArgumentError(f"{owner}: expected a table of at least {axes} axes, found shape {tuple(p.shape)}")
    outcome = tuple(range(-axes, 0))
    total = p.sum(outcome, keepdim=True)
    if not bool((p >= 0).all() & ((total - 1).abs() <= 1e-9).all()):
        raise ArgumentError(
            f"{owner}: expected probabilities that sum to 1, found least {float(p.min())} and sum {float(total.flatten()[0])}"
        )
    return p / total
