"""What a weighting is: a function of the Gramian, and, where it remembers, of an explicit state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from ._certificate import Certificate, certify_equations, distance
from ._checks import admitted

S = TypeVar("S")


class InLoop(ABC):
    """What a training loop asks of anything that gives weights, whether it looks at the Gramian, at the losses or at its memory."""

    name: ClassVar[str]
    fresh: ClassVar[float] = 1.0
    """The share of this step's gradients in those that a training loop gives it (see ``track``); 1 is this step's alone."""

    @abstractmethod
    def at(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The weights of a Gramian that is known to be good, at these losses ``[*batch, m]``."""

    def begun(self, gramian: Tensor) -> Any:  # noqa: ANN401 (whatever it remembers)
        """What it remembers before the first step, for Gramians of this shape; None is nothing, now and later."""
        return None

    def taken(self, gramian: Tensor, losses: Tensor, memory: Any) -> tuple[Tensor, Any]:  # noqa: ANN401 (the same)
        """The weights of one step, as ``at``, and what it remembers after it."""
        return self.at(gramian, losses), memory


@dataclass(frozen=True)
class Weighting(InLoop):
    """Weights of m objectives from the Gramian G = JJᵀ of their gradients; the update direction is d = Jᵀw.

    Subclasses give ``solve``, which sees float64 and need not check anything, and a ``certificate``.
    """

    degree: ClassVar[float | None] = None
    """k where scaling all gradients by c scales the weights by c^k; None where no such law is claimed."""
    symmetric: ClassVar[bool] = True
    """Whether permuting the objectives (and a preference with them) permutes the weights."""
    settles: ClassVar[bool] = True
    """Whether one call attains what the certificate measures; False for weights that only approach it over many steps."""

    def weights(self, gramian: Tensor, *, validate: bool = True) -> Tensor:
        """The weights, in the Gramian's type and on its device; computed in float64, not differentiable.

        Shape: gramian ``[*batch, m, m]``, result ``[*batch, m]``.

        :param validate: check the values as ``checked`` does, on CPU tensors only (on an accelerator it would synchronise: call ``checked``
            yourself where that is affordable); False in loops whose Gramians are known to be good. Shapes are always checked.
        :raises ArgumentError: a Gramian that is none.
        """
        return self.solve(admitted(gramian, validate=validate)).to(gramian.dtype)

    def at(self, gramian: Tensor, losses: Tensor) -> Tensor:
        """The same: the losses do not matter."""
        return self.weights(gramian, validate=False)

    @abstractmethod
    def solve(self, gramian: Tensor) -> Tensor:
        """The weights of a Gramian that is known to be float64, symmetric and positive semi-definite."""

    def certificate(self, gramian: Tensor, weights: Tensor) -> Certificate:
        """How far these weights are from this method's; by default the relative distance of the direction from a recomputed one."""
        G, w = gramian.detach().double(), weights.detach().double()
        return certify_equations(G, w, distance(G, w, self.solve(G)))


@dataclass(frozen=True)
class Stateful(Weighting, Generic[S]):
    """A weighting with a memory, which the caller carries: ``weights, state = weighting.step(gramian, state)``.

    ``weights(gramian)`` is the first step from ``initial``; nothing is remembered in the object.
    """

    @abstractmethod
    def initial(self, gramian: Tensor) -> S:
        """The state before the first step, for Gramians of this shape."""

    @abstractmethod
    def advance(self, gramian: Tensor, state: S) -> tuple[Tensor, S]:
        """Weights and next state from a float64 Gramian that is known to be good."""

    def step(self, gramian: Tensor, state: S, *, validate: bool = True) -> tuple[Tensor, S]:
        """The weights of this step and the state for the next one.

        :raises ArgumentError: a Gramian that is none.
        """
        weights, after = self.advance(admitted(gramian, validate=validate), state)
        return weights.to(gramian.dtype), after

    def begun(self, gramian: Tensor) -> S:
        return self.initial(gramian)

    def taken(self, gramian: Tensor, losses: Tensor, memory: S) -> tuple[Tensor, S]:
        return self.step(gramian, memory, validate=False)

    def solve(self, gramian: Tensor) -> Tensor:
        return self.advance(gramian, self.initial(gramian))[0]

    def step_certificate(self, gramian: Tensor, weights: Tensor, state: S) -> Certificate:
        """How far weights are from those of the step that starts in this state; by default against a repetition of the step."""
        G, w = gramian.detach().double(), weights.detach().double()
        again = self.advance(G, state)[0]
        apart = (w - again).abs().amax(-1) / again.abs().amax(-1).clamp(min=torch.finfo(again.dtype).tiny)
        # Two weights can give one direction: either agreement will do.
        return certify_equations(G, w, torch.minimum(apart, distance(G, w, again)))
