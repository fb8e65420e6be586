"""Optimisers on one flat buffer, with a learning rate and a weight decay for each replicate."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError
from mmtheory.methods import Strength, per_replicate

Name = Literal["sgd", "adam", "adamw"]

aten = torch.ops.aten
LANES = 16
"""Numbers that every vector unit takes whole: what is left over goes another way in a compiled kernel, and might be rounded otherwise."""
MANY = 1 << 15
"""Numbers from which on one pass over the memory saves more than its longer preparation costs."""


class Optimiser(ABC):
    """Moves columns of ``data`` [*batch, P] against a gradient of the same shape.

    State and clock are kept per column range: an owner that was not stepped keeps its momentum and its count untouched.

    :param lr: learning rate, a number or [*batch].
    :param weight_decay: added to the gradient (``sgd``, ``adam``) or applied to the weights (``adamw``); 0 for none.
    """

    def __init__(self, data: Tensor, *, lr: Strength, weight_decay: Strength = 0.0) -> None:
        for name, value in (("lr", lr), ("weight_decay", weight_decay)):
            check_rate(name, value)
            if isinstance(value, Tensor) and value.ndim and value.shape != data.shape[:-1]:
                raise ArgumentError(
                    f"optimiser: expected {name} a number or one a replicate {tuple(data.shape[:-1])}, found {tuple(value.shape)}"
                )
        self.data = data
        self.lr, self.weight_decay = per_replicate(lr, data), per_replicate(weight_decay, data)
        self.decays = isinstance(weight_decay, Tensor) or weight_decay > 0
        self._spare = torch.empty_like(data) if self.decays else data

    def step(self, gradient: Tensor, columns: slice, factor: float, alive: Tensor | None = None) -> None:
        """Move these columns, the learning rate times ``factor``.

        :param alive: replicates [*batch] that move; the others keep parameters and state bit for bit. None for all.
        """
        if alive is None:
            self._move(gradient, columns, factor)
            return
        kept = [part[..., columns] for part in (self.data, *self._moments())]
        before = [part.clone() for part in kept]
        self._move(gradient, columns, factor)
        for part, old in zip(kept, before, strict=True):
            part.copy_(torch.where(alive.unsqueeze(-1), part, old))

    def _decayed(self, gradient: Tensor, columns: slice) -> Tensor:
        """The gradient plus the decay times the weights, in memory that the next step uses again."""
        theta, out = self.data[..., columns], self._spare[..., columns]
        if isinstance(self.weight_decay, Tensor):
            return torch.addcmul(gradient, theta, self.weight_decay, out=out)
        return torch.add(gradient, theta, alpha=self.weight_decay, out=out)

    @abstractmethod
    def _move(self, gradient: Tensor, columns: slice, factor: float) -> None:
        """Move these columns of every replicate."""

    @abstractmethod
    def _moments(self) -> tuple[Tensor, ...]:
        """State of the data's own shape."""

    @abstractmethod
    def state_dict(self) -> dict[str, Tensor]:
        """The state, as tensors."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what ``state_dict`` gave."""


@final
class SGD(Optimiser):
    """Stochastic gradient descent with heavy-ball momentum (PyTorch's form: v ← μ v + g, θ ← θ − lr·v).

    Neighbouring numbers on a CPU take one pass over the memory instead of four, to the same bits wherever they stand.
    """

    def __init__(self, data: Tensor, *, lr: Strength, weight_decay: Strength = 0.0, momentum: float = 0.0) -> None:
        super().__init__(data, lr=lr, weight_decay=weight_decay)
        check_rate("momentum", momentum)
        self.momentum = momentum
        self.velocity = torch.zeros_like(data) if momentum else None

    def _moments(self) -> tuple[Tensor, ...]:
        return () if self.velocity is None else (self.velocity,)

    def _move(self, gradient: Tensor, columns: slice, factor: float) -> None:
        theta, g = self.data[..., columns], gradient[..., columns]
        if self.velocity is not None:
            v = self.velocity[..., columns]
            if not isinstance(self.lr, Tensor) and self._at_once(theta, g, v, factor * self.lr):
                return
            g = v.mul_(self.momentum).add_(self._decayed(g, columns) if self.decays else g)
        elif self.decays:
            g = self._decayed(g, columns)
        if isinstance(self.lr, Tensor):
            theta.addcmul_(g, self.lr, value=-factor)
        else:
            theta.add_(g, alpha=-factor * self.lr)

    def _at_once(self, theta: Tensor, g: Tensor, v: Tensor, lr: float) -> bool:
        """Do it in one pass if these numbers allow it."""
        decay = self.weight_decay
        plain = g.is_contiguous() and theta.is_contiguous() and theta.dtype == g.dtype
        if isinstance(decay, Tensor) or theta.device.type != "cpu" or theta.numel() < MANY or not plain:
            return False
        theta, g, v = theta.view(-1), g.view(-1), v.view(-1)
        most = theta.numel() - theta.numel() % LANES
        aten._fused_sgd_(
            [theta[:most]], [g[:most]], [v[:most]], weight_decay=decay, momentum=self.momentum, lr=lr,
            dampening=0.0, nesterov=False, maximize=False, is_first_step=False,
        )  # fmt: skip
        if most < theta.numel():
            theta, g, v = theta[most:], g[most:], v[most:]
            v.mul_(self.momentum).add_(torch.add(g, theta, alpha=decay) if decay else g)
            theta.add_(v, alpha=-lr)
        return True

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.velocity is None else {"velocity": self.velocity}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if self.velocity is not None:
            self.velocity.copy_(state["velocity"])


@final
class Adam(Optimiser):
    """Adam, and AdamW with ``decoupled`` weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019)."""

    def __init__(
        self,
        data: Tensor,
        *,
        lr: Strength,
        weight_decay: Strength = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        decoupled: bool = False,
    ) -> None:
        super().__init__(data, lr=lr, weight_decay=weight_decay)
        self.betas, self.eps, self.decoupled = betas, eps, decoupled
        self.mean, self.square = torch.zeros_like(data), torch.zeros_like(data)
        self.count = data.new_zeros(data.shape[-1])

    def _moments(self) -> tuple[Tensor, ...]:
        return self.mean, self.square

    def _move(self, gradient: Tensor, columns: slice, factor: float) -> None:
        theta, g = self.data[..., columns], gradient[..., columns]
        if self.decays and self.decoupled:
            theta.mul_(1 - factor * self.lr * self.weight_decay)
        elif self.decays:
            g = self._decayed(g, columns)
        count = self.count[columns].add_(1)
        mean = self.mean[..., columns].lerp_(g, 1 - self.betas[0])
        square = self.square[..., columns].mul_(self.betas[1]).addcmul_(g, g, value=1 - self.betas[1])
        scale = (square / (1 - self.betas[1] ** count)).sqrt_().add_(self.eps).mul_(1 - self.betas[0] ** count)
        move = torch.div(mean, scale, out=scale)
        if isinstance(self.lr, Tensor):
            theta.addcmul_(move, self.lr, value=-factor)
        else:
            theta.add_(move, alpha=-factor * self.lr)

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "square": self.square, "count": self.count}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean.copy_(state["mean"])
        self.square.copy_(state["square"])
        self.count.copy_(state["count"])


def optimiser(name: str, data: Tensor, *, lr: Strength, weight_decay: Strength, momentum: float) -> Optimiser:
    """The optimiser of that name.

    :raises ArgumentError: an unknown name.
    """
    if name == "sgd":
        return SGD(data, lr=lr, weight_decay=weight_decay, momentum=momentum)
    if name in {"adam", "adamw"}:
        return Adam(data, lr=lr, weight_decay=weight_decay, decoupled=name == "adamw")
    raise ArgumentError(f"optimiser: expected sgd, adam or adamw, found {name!r}")


def check_rate(name: str, value: Strength) -> None:
    """:raises ArgumentError: a negative or non-finite number (tensors are the caller's to check: that would wait for the device)."""
    if not isinstance(value, Tensor) and not 0 <= value < float("inf"):
        raise ArgumentError(f"optimiser: expected {name} >= 0 and finite, found {value}")
