"""Who looks on at a trainer's passes."""

from __future__ import annotations

from typing import Protocol

from mmtheory.methods import Gradients, Step


class Watch(Protocol):
    """Looks on at every pass."""

    def __call__(self, step: Step, gradients: Gradients, *, by_hand: bool) -> None:
        """After the gradients were taken, in closed form or by autograd."""
        ...
