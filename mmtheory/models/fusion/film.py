"""FiLM: the other modalities scale and shift the features of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, final

import torch
from torch import Tensor, nn

from mmtheory.errors import ArgumentError
from mmtheory.models._dense import Dense
from mmtheory.rng import Draws

from ._fusion import Features, Fusion, base_of, check_features, several


@final
class FiLM(Fusion):
    r"""Feature-wise linear modulation of a base modality by all others.

    .. math:: o = W\Big(z_b \odot \prod_{m \ne b} (s + \Gamma_m z_m + \gamma_m) + \sum_{m \ne b} (B_m z_m + \beta_m)\Big) + c

    With ``form="residual"`` (s = 1) zero generators leave a linear head on the base. With ``form="released"`` (s = 0, the code of
    OGM-GE) the same zeros leave a constant: the base is not heard at all until the others have learnt to let it through. At M = 2 the
    released form is the published one; for more modalities the scales multiply.

    :param base: the modality that is modulated; None takes the last name in alphabetical order (``visual`` of audio and visual).
    :raises ArgumentError: fewer than two modalities, an unknown base or form.

    Source: Perez et al. 2018; Peng et al. 2022 (code); the product over more than two modalities is derived here.
    """

    def __init__(
        self,
        widths: Mapping[str, int],
        classes: int,
        *,
        draws: Draws,
        base: str | None = None,
        form: Literal["residual", "released"] = "residual",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if form not in {"residual", "released"}:
            raise ArgumentError(f"film: expected form residual or released, found {form!r}")
        self.widths, self.classes = several(widths, "film"), classes
        self.base, self.unit = base_of(widths, base, "film"), 1.0 if form == "residual" else 0.0
        d = widths[self.base]
        self.generators = nn.ModuleDict(
            {
                m: Dense(w, 2 * d, draws=draws, name=f"generator {m}", dtype=dtype)
                for m, w in widths.items()
                if m != self.base
            }
        )
        self.head = Dense(d, classes, draws=draws, name="head", dtype=dtype)

    def forward(self, features: Features) -> Tensor:
        check_features(features, self.widths)
        scaled, shift = features[self.base], torch.zeros_like(features[self.base])
        for m, generator in self.generators.items():
            scale, offset = generator(features[m]).chunk(2, dim=-1)
            scaled, shift = scaled * (self.unit + scale), shift + offset
        return self.head(scaled + shift)
