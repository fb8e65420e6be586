"""Gated fusions: the features of one modality behind gates of the others, and the gated multi-modal unit that weighs them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

from mmtheory.models._dense import Dense
from mmtheory.rng import Draws

from ._fusion import Features, Fusion, base_of, check_features, several


@final
class Gated(Fusion):
    r"""A base modality behind the sigmoid gates of all others.

    .. math:: o = W\Big((W_b z_b + b_b) \odot \prod_{m \ne b} \sigma(W_m z_m + b_m)\Big) + c

    Zero gates do not open: they halve the base once for every other modality.

    :param base: the modality that is gated; None takes the last name in alphabetical order.
    :param width: width of the gated layer; None takes the base's own.
    :raises ArgumentError: fewer than two modalities, or an unknown base.

    Source: Peng et al. 2022 (code), the M = 2 form; the product over more than two modalities is derived here.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        base: str | None = None,
        width: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.widths, self.classes = several(widths, "gated"), classes
        self.base = base_of(widths, base, "gated")
        inner = width or widths[self.base]
        self.maps = nn.ModuleDict(
            {m: Dense(w, inner, draws=draws, name=f"map {m}", dtype=dtype) for m, w in widths.items()}
        )
        self.head = Dense(inner, classes, draws=draws, name="head", dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        h = self.maps[self.base](features[self.base])
        for m, layer in self.maps.items():
            if m != self.base:
                h = h * layer(features[m]).sigmoid()
        return self.head(h)


@final
class GMU(Fusion):
    r"""The gated multi-modal unit.

    .. math:: o = W \sum_m g_m \odot \tanh(W_m z_m + b_m) + c, \qquad g = \mathrm{softmax}_m(U_m [z_1; \dots; z_M] + u_m)

    One modality's gate has the logit 0, so that at M = 2 the gates are σ(·) and 1 − σ(·), the published unit. Gates that are not
    ``tied`` are independent sigmoids, the published form for more modalities; they need not sum to one.

    :param tied: gates that sum to one over the modalities in every unit.
    :param width: width of the unit; None takes that of the modality whose logit is 0 (the last name in alphabetical order).
    :raises ArgumentError: fewer than two modalities.

    Source: Arevalo et al. 2017, eq. 2 and 3; softmax for more than two modalities is derived here.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        tied: bool = True,
        width: int | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.widths, self.classes, self.tied = several(widths, "gmu"), classes, tied
        self.reference = base_of(widths, None, "gmu")
        inner, together = width or widths[self.reference], sum(widths.values())

        def layer(d_in: int, name: str) -> Dense:
            return Dense(d_in, inner, draws=draws, name=name, dtype=dtype)

        free = [m for m in widths if not tied or m != self.reference]
        self.maps = nn.ModuleDict({m: layer(w, f"map {m}") for m, w in widths.items()})
        self.gates = nn.ModuleDict({m: layer(together, f"gate {m}") for m in free})
        self.head = Dense(inner, classes, draws=draws, name="head", dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        everything = torch.cat([features[m] for m in self.widths], dim=-1)
        hidden = {m: layer(features[m]).tanh() for m, layer in self.maps.items()}
        logits = {m: gate(everything) for m, gate in self.gates.items()}
        if self.tied:
            logits[self.reference] = torch.zeros_like(hidden[self.reference])
        stacked = torch.stack([logits[m] for m in self.widths])
        weights = stacked.softmax(0) if self.tied else stacked.sigmoid()
        return self.head((weights * torch.stack([hidden[m] for m in self.widths])).sum(0))
