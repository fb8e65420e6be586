"""The parameters of a multimodal machine as modules, so that every group's have an owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, final

import torch
from torch import Tensor, nn

from mmtheory.rng import Draws

from ._deep import Pathway, Units
from ._machine import MultimodalRBM


@final
class Group(nn.Module):
    """Weights from one group (or lower layer) up [*batch_shape, D, H], normal with this deviation, and its biases [*batch_shape, D], zero."""

    def __init__(
        self, units: int, hidden: int, *, draws: Draws, name: str, deviation: float, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        weight = deviation * draws.normal(f"{name} weight", units, hidden)
        self.weight = nn.Parameter(weight.to(dtype))
        self.bias = nn.Parameter(torch.zeros_like(self.weight[..., 0]))


@final
class Hidden(nn.Module):
    """Biases of the hidden units [*batch_shape, H], zero."""

    def __init__(self, like: Group) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros_like(like.weight[..., 0, :]))


def machine_of(parts: nn.ModuleDict, groups: Mapping[str, str], hidden: str) -> MultimodalRBM:
    """The machine whose parameters lie in modules.

    :param groups: group → name of its module in ``parts``.
    :param hidden: name of the module of the hidden biases.
    """
    found = {m: cast("Group", parts[name]) for m, name in groups.items()}
    biases: Tensor = cast("Hidden", parts[hidden]).bias
    return MultimodalRBM({m: g.weight for m, g in found.items()}, {m: g.bias for m, g in found.items()}, biases)


def pathway_of(parts: nn.ModuleDict, layers: Sequence[str], units: Units = "binary") -> Pathway:
    """The pathway whose layers lie in modules, each a ``Group`` from its lower side up, named from the data on."""
    found = [cast("Group", parts[name]) for name in layers]
    return Pathway(tuple(g.weight for g in found), tuple(g.bias for g in found), units)
