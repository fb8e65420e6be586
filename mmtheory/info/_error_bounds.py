"""What the information in x about y says about the least probability of error, and how little it says when y is binary."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


def binary_entropy(p: Tensor | float) -> Tensor:
    r"""h(p) = −p ln p − (1−p) ln(1−p).

    Shape: elementwise. Unit: nat.

    Source: textbook (known).

    >>> float(binary_entropy(0.5)) == math.log(2)
    True
    """
    e = torch.as_tensor(p, dtype=torch.float64)
    return -torch.special.xlogy(e, e) - torch.special.xlog1py(1 - e, -e)


def fano_entropy(error: Tensor | float, classes: int) -> Tensor:
    r"""The largest H(Y|X) that leaves this least error: Fano's inequality reads H(Y|X) ≤ h(e) + e ln(K−1).

    Shape: elementwise. Unit: nat.

    :param classes: K >= 2; with 2 the second term is 0.
    :raises ArgumentError: fewer than two classes.

    Source: textbook (Cover and Thomas, Theorem 2.10.1; known).

    >>> round(float(fano_entropy(0.75, 4)) / math.log(4), 12)
    1.0
    """
    if classes < 2:
        raise ArgumentError(f"fano_entropy: expected at least 2 classes, found {classes}")
    e = torch.as_tensor(error, dtype=torch.float64)
    return binary_entropy(e) + e * math.log(classes - 1)


def fano_error(equivocation: Tensor | float, classes: int) -> Tensor:
    r"""The least error that this H(Y|X) allows: Fano's inequality solved for e in [0, 1 − 1/K], by bisection.

    Tight: some law attains it (Feder and Merhav's lower curve).

    Shape: elementwise.

    :param equivocation: H(Y|X) in nat; 0 allows no error, ln K only guessing.
    :raises ArgumentError: fewer than two classes.

    Source: textbook (known).

    >>> round(float(fano_error(math.log(3), 3)), 7)
    0.6666667
    """
    target = torch.as_tensor(equivocation, dtype=torch.float64)
    low, high = torch.zeros_like(target), torch.full_like(target, 1 - 1 / classes)
    for _ in range(60):
        middle = (low + high) / 2
        above = fano_entropy(middle, classes) > target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return low


def hellman_raviv_error(equivocation: Tensor | float) -> Tensor:
    r"""The most error that this H(Y|X) allows, :math:`e \le H(Y|X) / (2\ln 2)`, for any number of classes.

    Shape: elementwise.

    :param equivocation: H(Y|X) in nat; 0 forbids any error.

    Source: Hellman and Raviv 1970 (known).

    >>> float(hellman_raviv_error(math.log(2)))
    0.5
    """
    return torch.as_tensor(equivocation, dtype=torch.float64) / (2 * math.log(2))


def feder_merhav_error(equivocation: Tensor | float, classes: int) -> Tensor:
    r"""The most error that this H(Y|X) allows, tight for every number of classes.

    .. math:: H \ge \ln i + i(i+1)\ln\tfrac{i+1}{i}\Big(e - \tfrac{i-1}{i}\Big), \qquad \tfrac{i-1}{i} \le e \le \tfrac{i}{i+1}

    Its first piece is Hellman and Raviv's line; the pieces join the points (1 − 1/i, ln i).

    Shape: elementwise.

    :param equivocation: H(Y|X) in nat; ln K allows 1 − 1/K and no more.
    :raises ArgumentError: fewer than two classes.

    Source: Feder and Merhav 1994 (known).

    >>> round(float(feder_merhav_error(math.log(3), 4)), 12)
    0.666666666667
    """
    if classes < 2:
        raise ArgumentError(f"feder_merhav_error: expected at least 2 classes, found {classes}")
    target = torch.as_tensor(equivocation, dtype=torch.float64)
    error = torch.zeros_like(target)
    for i in range(1, classes):
        start, end = math.log(i), math.log(i + 1)
        share = ((target - start) / (end - start)).clamp(0, 1)
        error = torch.where(target > start, 1 - 1 / i + share / (i * (i + 1)), error)
    return error


@dataclass(frozen=True)
class AccuracyBounds:
    """What the information in x about y promises of the best accuracy.

    Shape: each [*batch_shape].

    :param lower: e^{I − H(Y)}.
    :param upper: 1 − (H(Y) − I − ln 2)/ln K, the form printed in the papers; it says nothing where it is 1 or more.
    :param fano_upper: 1 minus Fano's error, never vacuous unless I = H(Y).
    :param vacuous: whether ``upper`` says nothing; with two classes it never says anything.
    """

    lower: Tensor
    upper: Tensor
    fano_upper: Tensor
    vacuous: Tensor


def accuracy_bounds(information: Tensor | float, label_entropy: Tensor | float, classes: int) -> AccuracyBounds:
    r"""Bounds on the best accuracy from the information about the label.

    .. math:: e^{I-H(Y)} \;\le\; P_{acc} \;\le\; 1 - \frac{H(Y)-I-\ln 2}{\ln K}

    Shape: broadcast of the two.

    :param information: I(X;Y), nat; 0 leaves the prior.
    :param label_entropy: H(Y), nat; ln K for balanced classes, when the upper bound is (I + ln 2)/ln K.
    :raises ArgumentError: fewer than two classes.

    Source: Liang et al. 2024, the performance section (known); Fano's form derived here.

    >>> bool(accuracy_bounds(0.2, math.log(2), 2).vacuous)
    True
    """
    i, h = (torch.as_tensor(v, dtype=torch.float64) for v in (information, label_entropy))
    upper = 1 - (h - i - math.log(2)) / math.log(classes)
    return AccuracyBounds((i - h).exp(), upper, 1 - fano_error((h - i).clamp(min=0), classes), upper >= 1)
