"""What filling in absent modalities by a shared machine needs: the machine as it is now, what is clamped, how the first guess counts it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmtheory.models.rbm import MultimodalRBM, machine_of

HEAD, TOP = "head:shared", "top:shared"


def top_of(auxiliary: nn.ModuleDict) -> MultimodalRBM:
    """The shared machine as it is now, one group a modality: of the owners ``top:…``."""
    names = [name.removeprefix("top:") for name in auxiliary if name.startswith("top:") and name != TOP]
    return machine_of(auxiliary, {m: f"top:{m}" for m in names}, TOP)


def clamped(
    x: Mapping[str, Tensor], present: Mapping[str, Tensor], groups: float | Tensor
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    r"""Which units of each modality are clamped, by its presence, and its factor in the first guess.

    .. math:: \beta = G / \max(1, \#\{m : m \text{ is present}\})

    A modality without an entry in ``present`` is clamped as a whole and has no entry in the first answer.

    Shape: x[m] [*batch, n, D_m], present[m] [*batch, n]; clamped like x[m], factors [*batch, n, 1].

    :param groups: G, of the whole machine.
    """
    like = next(iter(x.values()))[..., :1]
    here = {m: present[m].unsqueeze(-1) for m in x if m in present}
    count = torch.stack([here[m].to(like.dtype) if m in here else torch.ones_like(like) for m in x]).sum(0)
    return {m: h.expand_as(x[m]) for m, h in here.items()}, dict.fromkeys(x, groups / count.clamp(min=1))
