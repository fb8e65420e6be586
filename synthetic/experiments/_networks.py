"""Who is trained: two dense layers a modality and a fusion; in the deep linear world the network whose phases its formulas are about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from mmtheory.models import FUSIONS, DeepLinearEncoder, MLPEncoder, MultimodalModel
from mmtheory.models.fusion import Features, Fusion
from mmtheory.rng import Draws
from mmtheory.world import World
from synthetic.worlds import DeepLinear

from ._inputs import Parts

HIDDEN = 16
SMALL = 0.3
"""Initial scale of deep linear encoders under another fusion than the theory's: one after the other is learnt from small weights only."""
NONE: Mapping[str, str] = MappingProxyType({})
Build = Callable[[Draws], MultimodalModel]


@final
class LinearTop(Fusion):
    """What is above the branches of a deep linear fusion network, without biases: a layer a modality (late), or shared layers on the sum.

    :param shared: layers that both modalities go through; 0 is late fusion.
    """

    refusals: ClassVar[Mapping[str, str]] = NONE

    def __init__(self, modalities: Sequence[str], shared: int, *, draws: Draws) -> None:
        super().__init__()
        self.classes, self.names = 1, tuple(modalities)
        last = (HIDDEN, 1)
        shapes = [*([(HIDDEN, HIDDEN)] * (shared - 1)), last] if shared else []
        self.own = nn.ParameterDict({} if shared else {m: _blank(draws, *last) for m in self.names})
        self.shared = nn.ParameterList([_blank(draws, *shape) for shape in shapes])

    def parts(self, features: Features) -> dict[str, Tensor]:
        said = {m: features[m] @ self.own[m] if m in self.own else features[m] for m in self.names}
        for weight in self.shared:
            said = {m: z @ weight for m, z in said.items()}
        return said

    def forward(self, features: Features) -> Tensor:
        return torch.stack(list(self.parts(features).values())).sum(0)

    def owner_of(self, parameter: str) -> str | None:
        room, _, name = parameter.partition(".")
        return name if room == "own" else None


def _blank(draws: Draws, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(*draws.batch_shape, *shape, device=draws.device))


def builder(data: Parts, fusion: str, worlds: Sequence[World]) -> Build:
    """Networks for these samples; ``worlds`` is each replicate's, for those who begin as their theory has it."""
    deep = [w for w in worlds if isinstance(w, DeepLinear)]
    if len(deep) == len(worlds) and data.numbers and fusion == "concat":
        return phase_networks(deep)
    widths = {m: (x.shape[-1], 32, HIDDEN) for m, x in data.train.x.items()}

    def build(draws: Draws) -> MultimodalModel:
        encoders = {
            m: DeepLinearEncoder(w, draws=draws, name=m, scale=SMALL) if deep else MLPEncoder(w, draws=draws, name=m)
            for m, w in widths.items()
        }
        head = FUSIONS[fusion](dict.fromkeys(widths, HIDDEN), data.classes, draws=draws)
        return MultimodalModel(encoders, head, batch_shape=draws.batch_shape)

    return build


def phase_networks(worlds: Sequence[DeepLinear]) -> Build:
    """The deep linear fusion network of each world: ``depth`` layers, fused after ``fusion_layer``, of norm ``u0`` at the start.

    The start is aligned and balanced, as that of the formulas: every layer has rank one, the first looks along its modality's final
    weights, the hidden directions are random, and layers behind the fusion are √2 longer.
    """
    depth, fused, dims = worlds[0].depth, worlds[0].fusion_layer, dict(zip("ab", worlds[0].dims, strict=True))
    late = fused == depth
    below = depth - 1 if late else fused
    u0 = torch.tensor([w.u0 for w in worlds], dtype=torch.float64)
    final = torch.stack([w.moments.together() for w in worlds]).split(list(dims.values()), dim=-1)

    def build(draws: Draws) -> MultimodalModel:
        encoders = {
            m: DeepLinearEncoder((d, *[HIDDEN] * below), draws=draws, name=m, scale=0.0) for m, d in dims.items()
        }
        top = LinearTop(tuple(dims), depth - below if not late else 0, draws=draws)
        size = u0.to(draws.device)
        meet = _unit(draws.normal("meet", HIDDEN))
        with torch.no_grad():
            for m, target in zip(dims, final, strict=True):
                way = [_unit(target.to(draws.device)), *(_unit(draws.normal(f"{m} {k}", HIDDEN)) for k in range(below))]
                way[-1] = way[-1] if late else meet
                for k, weight in enumerate(encoders[m].layers):
                    weight.copy_(_outer(size, way[k], way[k + 1]))
                if late:
                    top.own[m].copy_(_outer(size, way[-1], torch.ones_like(way[-1][..., :1])))
            here = meet
            for k, weight in enumerate(top.shared):
                end = k == len(top.shared) - 1
                then = torch.ones_like(meet[..., :1]) if end else _unit(draws.normal(f"shared {k}", HIDDEN))
                weight.copy_(_outer(size * 2**0.5, here, then))
                here = then
        return MultimodalModel(encoders, top, batch_shape=draws.batch_shape)

    return build


def _unit(v: Tensor) -> Tensor:
    """Along v, or nowhere where v is 0."""
    length = v.norm(dim=-1, keepdim=True)
    return v / torch.where(length > 0, length, 1.0)


def _outer(size: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return size[:, None, None] * a.unsqueeze(-1) * b.unsqueeze(-2)


def maps(model: MultimodalModel) -> dict[str, Tensor]:
    """End-to-end maps [*batch, d_m] of a network of ``phase_networks``."""
    weights = {m: next(e.parameters()) for m, e in model.encoders.items()}
    eye = {m: torch.eye(w.shape[-2]).to(w) for m, w in weights.items()}
    through = {m: model.encoders[m](one.expand(*model.batch_shape, *one.shape)) for m, one in eye.items()}
    said = model.fusion.parts(through) or {}
    return {m: f.squeeze(-1) for m, f in said.items()}
