"""Suprema over any convex class through one compiled convex program; the oracle beside the closed forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError


@final
class ConvexClass:
    """The support function of a convex set of parameters, one program compiled once and solved for many directions.

    :param size: numbers of a parameter.
    :param constraints: cvxpy constraints on the parameter variable it is given.

    >>> square = ConvexClass(2, lambda theta: [theta <= 1, theta >= -1])
    >>> round(square.supremum(torch.tensor([[1.0, -2.0]])).item(), 6)
    3.0
    """

    def __init__(self, size: int, constraints: Callable[[Any], Sequence[Any]]) -> None:
        import cvxpy

        self.theta = cvxpy.Variable(size)
        self.direction = cvxpy.Parameter(size)
        self.problem = cvxpy.Problem(cvxpy.Maximize(self.direction @ self.theta), list(constraints(self.theta)))

    def supremum(self, directions: Tensor) -> Tensor:
        """sup_θ ⟨θ, u⟩ for each direction u. Shape: [k, size] to [k].

        :raises ArgumentError: an empty or unbounded class.
        """
        found: list[float] = []
        for direction in directions.double():
            self.direction.value = direction.numpy()
            value = self.problem.solve(solver="CLARABEL")
            if self.problem.status != "optimal":
                raise ArgumentError(
                    f"convex class: expected a bounded, non-empty class, found a program that is {self.problem.status}"
                )
            found.append(float(value))  # pyright: ignore[reportArgumentType]
        return torch.tensor(found, dtype=torch.float64)


def linear_class(features: Tensor, constraints: Callable[[Any], Sequence[Any]]) -> Callable[[Tensor], Tensor]:
    """Signs [k, m] to sup_θ (1/m) Σ σ_i ⟨θ, φ_i⟩ over a convex set of θ. Shape: features [m, d]."""
    inner = ConvexClass(features.shape[-1], constraints)
    return lambda signs: inner.supremum(signs.double() @ features.double() / len(features))


def lipschitz_class(points: Tensor, constant: float, bound: float) -> Callable[[Tensor], Tensor]:
    """Signs [k, m] to sup of (1/m) Σ σ_i f(x_i) over L-Lipschitz f with |f| ≤ bound: a linear program in the values. Shape: points [m, d]."""
    i, j = torch.triu_indices(len(points), len(points), offset=1)
    reach = constant * torch.linalg.vector_norm(points[i] - points[j], dim=-1).double().numpy()
    inner = ConvexClass(
        len(points),
        lambda f: [f <= bound, f >= -bound, f[i.numpy()] - f[j.numpy()] <= reach, f[j.numpy()] - f[i.numpy()] <= reach],
    )
    return lambda signs: inner.supremum(signs.double() / len(points))
