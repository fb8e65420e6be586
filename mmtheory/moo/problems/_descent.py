"""Gradient descent along a weighting's direction, all replicates at once, with everything the rates of the theory are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.moo._gramian import gramian

from ._problem import Problem


class Path(NamedTuple):
    """What T steps went through: points ``[T + 1, *batch, d]``, values ``[T + 1, *batch, m]``, Gramians and weights of each step."""

    points: Tensor
    values: Tensor
    gramians: Tensor
    weights: Tensor

    @property
    def slopes(self) -> Tensor:
        """⟨g_i, d⟩ = (Gw)_i at each step, ``[T, *batch, m]``."""
        return (self.gramians @ self.weights[..., None])[..., 0]

    @property
    def squared(self) -> Tensor:
        """‖d‖² = wᵀGw at each step, ``[T, *batch]``."""
        return (self.weights * self.slopes).sum(-1).clamp(min=0)

    @property
    def gaps(self) -> Tensor:
        """Duality gap wᵀGw − min_i (Gw)_i of each step's weights as min-norm weights, ``[T, *batch]``."""
        return (self.squared - self.slopes.amin(-1)).clamp(min=0)


def descend(problem: Problem, weigh: Callable[[Tensor], Tensor], start: Tensor, step: Tensor | float, steps: int) -> Path:  # fmt: skip
    """``steps`` steps x ← x − t Jᵀw, with w = weigh(JJᵀ).

    Shape: start ``[*batch, d]``, step a number or ``[*batch]``.

    :param weigh: Gramian ``[*batch, m, m]`` to weights ``[*batch, m]``: ``WEIGHTINGS[...]().solve``, or any function of yours.
    :raises ArgumentError: no steps.

    >>> from mmtheory.moo import MGDA
    >>> from mmtheory.moo.problems import Spheres
    >>> path = descend(Spheres(), MGDA().solve, torch.tensor([3.0, 0.0], dtype=torch.float64), 0.5, 2)
    >>> path.points[:, 0].tolist()
    [3.0, 2.0, 1.5]
    """
    if steps < 1:
        raise ArgumentError(f"steps: expected at least 1, found {steps}")
    rate = torch.as_tensor(step, dtype=torch.float64, device=start.device)[..., None]
    x = start
    points, values, grams, chosen = [x], [problem.values(x)], list[Tensor](), list[Tensor]()
    for _ in range(steps):
        rows = problem.jacobian(x)
        G = gramian(rows)
        w = weigh(G)
        x = x - rate * (w[..., None] * rows).sum(-2)
        points.append(x)
        values.append(problem.values(x))
        grams.append(G)
        chosen.append(w)
    return Path(torch.stack(points), torch.stack(values), torch.stack(grams), torch.stack(chosen))
