"""MSES: stop the encoder whose own validation loss has stopped falling, and let the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from mmtheory.models import FlatParameters, MultimodalModel
from mmtheory.rng import Draws

from ._contribution import Contributing, Contribution
from ._measures import own_logits, own_losses, split_of
from ._method import Card, Method, Step, Strength, View, per_replicate
from ._strengths import ranged


@final
class MSES(Contributing):
    r"""Modality-specific early stopping.

    .. math:: \eta_m \leftarrow 0 \quad\text{once}\quad L^m_{val} > \min_{s<t} L^m_{val,s} - \epsilon \quad\text{for patience epochs in a row}

    A stopped encoder stays where it is, bit for bit, until the end; its optimiser's moments go on, as with a learning rate of zero.

    :param patience: stale epochs before the stop, at least 1; inf is joint training bit for bit.
    :param tolerance: by how much a loss has to fall to count as fallen, nat.
    :param contribution: where unimodal logits come from, see ``Contributing``.

    Source: Fujimori et al. 2019 (from memory of the paper); the patience of 80 in the code of AGM is for hundreds of epochs.
    """

    card: ClassVar[Card] = Card(
        name="mses",
        source="Fujimori, Endo, Kawai, Mochizuki 2019",
        summary="Freezes an encoder once its modality's validation loss is stale.",
        fidelity="reconstruction",
        cost="1F + 1B, one forward of the validation split an epoch",
        neutral="patience = inf",
        differences=(
            "the paper's text was not at hand: the rule is that of the code of AGM, which sets the encoder's learning rate to zero",
            "unimodal losses come from contribution providers, so that every fusion is served",
        ),
    )
    needs: ClassVar[frozenset[str]] = frozenset({"validation", "update"})
    why_classes: ClassVar[str] = ""

    def __init__(
        self, patience: Strength = 5.0, *, tolerance: float = 0.0, contribution: Contribution | None = None
    ) -> None:
        self.patience = ranged("mses: patience", patience, 1)
        self.tolerance = ranged("mses: tolerance", tolerance)
        self.contribution = contribution

    def bind(self, model: MultimodalModel, draws: Draws) -> None:
        super().bind(model, draws)
        like = next(model.parameters()).detach().new_zeros(model.batch_shape)
        self.best = {m: torch.full_like(like, torch.inf) for m in model.modalities}
        self.stale = {m: torch.zeros_like(like) for m in model.modalities}

    def on_epoch(self, view: View) -> None:
        held = split_of(view)
        losses = own_losses(own_logits(view.model, self.provider, held), held)
        for m, now in losses.items():
            fell = now < self.best[m] - self.tolerance
            going = self.stale[m] < per_replicate(self.patience, now)
            waited = torch.where(fell, 0.0, self.stale[m] + 1)
            self.stale[m] = torch.where(going, waited, self.stale[m])
            self.best[m] = torch.minimum(self.best[m], now)

    def stopped(self, modality: str) -> Tensor:
        """Whether a modality's encoder stands still, [*batch]."""
        stale = self.stale[modality]
        return stale >= per_replicate(self.patience, stale)

    def on_update(self, step: Step, before: Tensor, flat: FlatParameters) -> None:
        for m in self.stale:
            columns = flat.columns[m]
            moved = flat.data[..., columns]
            goes = (~self.stopped(m)).to(moved.dtype).unsqueeze(-1)  # 0 and 1 give the ends exactly
            moved.copy_(torch.lerp(before[..., columns], moved, goes))

    def state_dict(self) -> dict[str, Tensor]:
        return {f"best {m}": v for m, v in self.best.items()} | {f"stale {m}": v for m, v in self.stale.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.best = {m: state[f"best {m}"].clone() for m in self.best}
        self.stale = {m: state[f"stale {m}"].clone() for m in self.stale}

    def neutral(self) -> Method:
        return MSES(float("inf"))
