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
    """One group's weights [*batch_shape, D, H], normal with this deviation, and visible biases [*batch_shape, D], zero."""

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


@final
class Layers(nn.Module):
    """The tied layers below one group, from the data's width up: weights normal with this deviation, biases zero.

    :param widths: of the data and of every layer but the group itself; one number alone for no layer.
    :param top: units of the group.
    """

    def __init__(
        self,
        widths: Sequence[int],
        top: int,
        *,
        draws: Draws,
        name: str,
        deviation: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        sizes = list(zip(widths, (*widths[1:], top), strict=True))
        weights = [deviation * draws.normal(f"{name} weight {i}", *size) for i, size in enumerate(sizes)]
        self.weights = nn.ParameterList(nn.Parameter(w.to(dtype)) for w in weights)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros_like(w[..., 0]).to(dtype)) for w in weights)

    def pathway(self, units: Units = "binary") -> Pathway:
        """These layers as a pathway."""
        return Pathway(tuple(self.weights), tuple(self.biases), units)


def machine_of(parts: nn.ModuleDict, groups: Mapping[str, str], hidden: str) -> MultimodalRBM:
    """The machine whose parameters lie in modules.

    :param groups: group → name of its module in ``parts``.
    :param hidden: name of the module of the hidden biases.
    """
    found = {m: cast("Group", parts[name]) for m, name in groups.items()}
    biases: Tensor = cast("Hidden", parts[hidden]).bias
    return MultimodalRBM({m: g.weight for m, g in found.items()}, {m: g.bias for m, g in found.items()}, biases)
