"""What one pass in closed form leaves behind."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Passed:
    """One forward and backward; all but the loss lies in buffers that the next pass overwrites."""

    features: dict[str, Tensor]
    logits: Tensor
    loss: Tensor
    gradient: Tensor
