"""What each dense layer of a chain of modules is given: which weights there are, and the means of their inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmtheory.models import Dense, MLPEncoder, dense


def linear_weights(chain: Sequence[nn.Module]) -> list[nn.Parameter]:
    """The weights [*batch, d_in, d_out] of the dense layers, in the order in which data pass them."""
    return [w for module in chain for w in _weights(module)]


def _weights(module: nn.Module) -> list[nn.Parameter]:
    if isinstance(module, MLPEncoder):
        return list(module.layers)[::2]
    return [part.weight for part in module.modules() if isinstance(part, Dense)]


@torch.no_grad()
def mean_inputs(
    chain: Sequence[nn.Module], x: Tensor, present: Tensor | None = None, *, size: int
) -> list[tuple[nn.Parameter, Tensor]]:
    """Every dense layer's weight with the mean inputs of consecutive mini-batches, over the samples present.

    Shape: x [*batch, n, …], present [*batch, n] to means [*batch, ⌈n/size⌉, d_in], float64.
    """
    weights = linear_weights(chain)
    lead, there = weights[0].ndim - 2, weights[0].device
    means: dict[int, list[Tensor]] = {id(w): [] for w in weights}
    n = x.shape[lead]
    here = torch.ones(x.shape[: lead + 1], dtype=torch.float64, device=there) if present is None else present.double()
    for start in range(0, n, size):
        rows = (*(slice(None),) * lead, slice(start, start + size))
        for w, given in _inputs(chain, x[rows].to(there)):
            share = here[rows].repeat_interleave(given.shape[-2] // here[rows].shape[-1], -1).unsqueeze(-1)
            kept = torch.where(share > 0, given.double(), 0)
            means[id(w)].append(kept.sum(-2) / share.sum(-2).clamp(min=1))
    return [(w, torch.stack(means[id(w)], dim=-2)) for w in weights]


def _inputs(chain: Sequence[nn.Module], x: Tensor) -> list[tuple[nn.Parameter, Tensor]]:
    """What each dense layer is given for these samples; layers of other kinds pass data on."""
    found: list[tuple[nn.Parameter, Tensor]] = []
    for module in chain:
        if isinstance(module, MLPEncoder):
            layers = list(module.layers)
            for i in range(0, len(layers), 2):
                found.append((layers[i], x))
                x = dense(x, layers[i], layers[i + 1])
                x = x.relu() if module.activate or i < len(layers) - 2 else x
        else:
            x = _watched(module, x, found)
    return found


def _watched(module: nn.Module, x: Tensor, found: list[tuple[nn.Parameter, Tensor]]) -> Tensor:
    def note(part: nn.Module, given: tuple[Tensor, ...]) -> None:
        if isinstance(part, Dense):
            found.append((part.weight, given[0]))

    hooks = [part.register_forward_pre_hook(note) for part in module.modules() if isinstance(part, Dense)]
    try:
        return module(x)
    finally:
        for hook in hooks:
            hook.remove()
