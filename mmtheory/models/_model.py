"""A multi-modal model: one encoder a modality, a fusion, and an owner for every parameter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError

from ._encoders import Encoder
from .fusion import Features, Fusion

SHARED = "shared"
Absence = Literal["zero", "mean", "token"]


@dataclass(frozen=True, slots=True)
class Output:
    """Logits [*batch, n, classes] and the features [*batch, n, d_m] they came from."""

    logits: Tensor
    features: Features


@final
class MultimodalModel(nn.Module):
    """Encoders by modality name and a fusion, for every replicate at once.

    :param batch_shape: the replicate axes in front of every parameter; () is one model.
    :param absence: what stands in for the features of a modality that is not heard or not present: ``zero``; ``mean``, a running mean of
        its features (buffers, momentum 0.1 an ``observe``); ``token``, a learnt vector owned by the modality.
    :raises ArgumentError: a modality called ``shared``, or an unknown absence policy.
    """

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        fusion: Fusion,
        *,
        absence: Absence = "zero",
        batch_shape: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if SHARED in encoders or not encoders:
            raise ArgumentError(f"model: expected at least one modality, none named {SHARED!r}, found {list(encoders)}")
        if absence not in {"zero", "mean", "token"}:
            raise ArgumentError(f"model: expected absence zero, mean or token, found {absence!r}")
        self.encoders, self.fusion = nn.ModuleDict(dict(encoders)), fusion
        self.absence: Absence = absence
        self.batch_shape = tuple(batch_shape)
        self.widths = {m: encoder.width for m, encoder in encoders.items()}
        self.stand_ins = nn.ParameterDict()
        for m, encoder in encoders.items():
            blank = next(chain(encoder.parameters(), encoder.buffers())).new_zeros(*self.batch_shape, encoder.width)
            if absence == "token":
                self.stand_ins[m] = nn.Parameter(blank)
            else:
                self.register_buffer(f"absent_{m}", blank)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names in their order."""
        return tuple(self.encoders)

    @property
    def owners(self) -> tuple[str, ...]:
        """The modalities, then SHARED."""
        return (*self.modalities, SHARED)

    def width(self, modality: str) -> int:
        """Width of a modality's features."""
        return self.widths[modality]

    def owned(self, owner: str) -> Iterator[nn.Parameter]:
        """The parameters of one owner; over all owners a partition of the model's parameters."""
        if owner not in self.owners:
            raise ArgumentError(f"model: expected an owner among {', '.join(self.owners)}, found {owner!r}")
        return (p for _, p, o in self._ownership() if o == owner)

    def _ownership(self) -> Iterator[tuple[str, nn.Parameter, str]]:
        for name, p in self.named_parameters():
            room, _, rest = name.partition(".")
            if room == "fusion":
                yield name, p, self.fusion.owner_of(rest) or SHARED
            else:
                yield name, p, rest.partition(".")[0]

    def encode(self, x: Mapping[str, Tensor], hear: frozenset[str] | None = None) -> dict[str, Tensor]:
        """Features of the modalities heard (None: all of them)."""
        return {m: encoder(x[m]) for m, encoder in self.encoders.items() if hear is None or m in hear}

    def stand_in(self, modality: str) -> Tensor:
        """The features of an absent modality, [*batch, d_m]."""
        return self.stand_ins[modality] if self.absence == "token" else getattr(self, f"absent_{modality}")

    @torch.no_grad()
    def observe(self, features: Features, present: Mapping[str, Tensor] | None = None) -> None:
        """Move the running means towards the mean of these features over the present samples (absence policy ``mean`` alone)."""
        if self.absence != "mean":
            return
        for m, z in features.items():
            here = present[m] if present and m in present else z.new_ones(z.shape[:-1], dtype=torch.bool)
            running: Tensor = getattr(self, f"absent_{m}")
            count = here.sum(-1, keepdim=True)
            mean = torch.where(here.unsqueeze(-1), z.detach(), 0).sum(-2) / count.clamp(min=1)
            running.lerp_(torch.where(count > 0, mean, running), 0.1)

    def fuse(
        self, features: Features, hear: frozenset[str] | None = None, present: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Logits had only ``hear`` been heard and only ``present`` samples been there; the rest is stood in for by policy."""
        full: dict[str, Tensor] = {}
        like = next(iter(features.values()))
        for m in self.modalities:
            missing = self.stand_in(m).unsqueeze(-2)
            if m not in features or (hear is not None and m not in hear):
                full[m] = missing.expand(*like.shape[:-1], missing.shape[-1])
            elif present and m in present:
                full[m] = torch.where(present[m].unsqueeze(-1), features[m], missing)
            else:
                full[m] = features[m]
        return self.fusion(full)

    def forward(
        self, x: Mapping[str, Tensor], hear: frozenset[str] | None = None, present: Mapping[str, Tensor] | None = None
    ) -> Output:
        """Logits and features of the modalities heard."""
        features = self.encode(x, hear)
        return Output(self.fuse(features, hear, present), features)
