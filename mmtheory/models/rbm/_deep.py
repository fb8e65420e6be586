"""The multimodal deep recurrent network: a pathway of tied layers a modality below one shared machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._machine import MultimodalRBM
from ._prediction import directions, unseen_loss
from ._recurrent import Boost, Completion

Units = Literal["binary", "real"]


@final
@dataclass(frozen=True)
class Pathway:
    """Layers of sigmoid units from one modality's data up to its group in the shared machine, the same weights up and down.

    The bias of the uppermost layer is the group's own in the shared machine. Without layers the group is the data itself.

    Shape: ``weights[l]`` [*batch_shape, D_l, D_{l+1}], ``biases[l]`` [*batch_shape, D_l] of the lower side of each layer.

    :param units: of the data: ``binary`` (probabilities), or ``real`` (means of unit variance).
    :raises ArgumentError: layers that do not fit together.
    """

    weights: tuple[Tensor, ...] = ()
    biases: tuple[Tensor, ...] = ()
    units: Units = "binary"

    def __post_init__(self) -> None:
        found = [tuple(w.shape[-2:]) for w in self.weights]
        below = [b.shape[-1] for b in self.biases]
        fits = all(w[1] == v[0] for w, v in pairwise(found))
        if below != [w[0] for w in found] or not fits or self.units not in {"binary", "real"}:
            raise ArgumentError(
                f"pathway: expected layers that fit, a bias below each and binary or real units, found weights {found}, biases {below}, {self.units!r}"
            )


@final
@dataclass(frozen=True)
class MultimodalDeepRNN:
    r"""Pathways and a shared machine, whose recurrent sweeps go down to the data and back.

    .. math:: \text{top} \to p_y \to \dots \to \hat y \to \dots \to p_y \to \text{top}

    Unlike sweeps of the shared machine alone, a modality's prediction passes through its data layer each time, where units that are seen
    may be clamped. Without layers it is ``MultimodalRBM``'s recurrence, number for number.

    :raises ArgumentError: a pathway for each of the machine's groups is not there, or ends in another width.

    Source: Sohn, Shang and Lee 2014, the MDRNN (code).
    """

    paths: Mapping[str, Pathway]
    top: MultimodalRBM

    def __post_init__(self) -> None:
        widths = {m: p.weights[-1].shape[-1] if p.weights else self.top.widths.get(m) for m, p in self.paths.items()}
        if widths != self.top.widths:
            raise ArgumentError(f"deep rnn: expected pathways ending in {self.top.widths}, found {widths}")

    def up(self, x: Tensor, m: str, layers: int | None = None) -> Tensor:
        """Probabilities of a modality's group in the shared machine (or of an earlier layer), inferred from its data alone."""
        path = self.paths[m]
        for w, bias in zip(path.weights[:layers], self._above(m), strict=False):
            x = torch.sigmoid(x @ w + bias.unsqueeze(-2))
        return x

    def _above(self, m: str) -> tuple[Tensor, ...]:
        """The biases of the upper side of each layer."""
        return (*self.paths[m].biases[1:], self.top.biases[m])

    def layer(self, m: str, place: int) -> MultimodalRBM:
        """One layer of a pathway as a machine of its own, for layer-wise pre-training of binary units."""
        path = self.paths[m]
        return MultimodalRBM({m: path.weights[place]}, {m: path.biases[place]}, self._above(m)[place])

    def down(self, p: Tensor, m: str) -> Tensor:
        """Logits (of real units: means) of a modality's data, from the logits of its group."""
        path = self.paths[m]
        for w, bias in zip(reversed(path.weights), reversed(path.biases), strict=True):
            p = torch.sigmoid(p) @ w.mT + bias.unsqueeze(-2)
        return p

    def mean(self, logits: Tensor, m: str) -> Tensor:
        """Expected data."""
        return torch.sigmoid(logits) if self.paths[m].units == "binary" else logits

    def recurrent(
        self,
        x: Mapping[str, Tensor],
        *,
        sweeps: int,
        seen: Mapping[str, Tensor] | None = None,
        boost: Mapping[str, Boost] | None = None,
    ) -> Completion:
        """Hidden probabilities after so many sweeps, and data logits (means) of every modality not wholly seen.

        Arguments as in ``recurrent`` of the shared machine, values and masks being those of the data layer.

        :raises ArgumentError: as there.
        """
        if sweeps < 0:
            raise ArgumentError(f"deep rnn: expected sweeps >= 0, found {sweeps}")
        if not x or not set(x) <= set(self.paths):
            raise ArgumentError(f"deep rnn: expected data of some of {', '.join(self.paths)}, found {list(x)}")
        seen, boost = seen or {}, boost or {}
        clamped = {m: v if m not in seen else torch.where(seen[m], v, 0) for m, v in x.items()}
        parts = {m: self.up(v, m) @ self.top.weights[m] for m, v in clamped.items()}
        bias = self.top.hidden.unsqueeze(-2)
        standard = len(self.paths) / len(x)
        h = torch.sigmoid(bias + torch.stack([boost.get(m, standard) * part for m, part in parts.items()]).sum(0))
        free = [m for m in self.paths if m not in x or m in seen]
        whole = [part for m, part in parts.items() if m not in free]
        steady = torch.stack(whole).sum(0) + bias if whole else bias
        for _ in range(sweeps if free else 0):
            guess = [self.up(self._filled(h, m, x, seen), m) @ self.top.weights[m] for m in free]
            h = torch.sigmoid(torch.stack(guess).sum(0) + steady)
        return Completion(h, {m: self.down(self._logits(h, m), m) for m in free})

    def _logits(self, h: Tensor, m: str) -> Tensor:
        return h @ self.top.weights[m].mT + self.top.biases[m].unsqueeze(-2)

    def _filled(self, h: Tensor, m: str, x: Mapping[str, Tensor], seen: Mapping[str, Tensor]) -> Tensor:
        guess = self.mean(self.down(self._logits(h, m), m), m)
        return torch.where(seen[m], x[m], guess) if m in seen else guess

    def loss(
        self,
        x: Mapping[str, Tensor],
        *,
        sweeps: int,
        direction: str = "both",
        seen: Mapping[str, Tensor] | None = None,
        keep: float = 0.0,
    ) -> Tensor:
        """Multi-prediction at the data layer: cross-entropy of binary units, half the squared error of real ones; [*batch_shape].

        Arguments as in ``multi_prediction_loss``. A direction ``x->y`` is the paper's last stage of fine-tuning.

        :raises ArgumentError: as there.

        Source: Sohn, Shang and Lee 2014, fine-tuning of the MDRNN (code).
        """
        if not 0 <= keep <= 1:
            raise ArgumentError(f"multi-prediction: expected keep in [0, 1], found {keep}")
        losses: list[Tensor] = []
        for way in directions(tuple(self.paths), direction):
            mask = None if seen is None else seen.get(way.target)
            given = {m: x[m] for m in (*way.given, *(() if mask is None else (way.target,)))}
            first = {m: (len(self.paths) - (keep if mask is not None else 0.0)) / len(way.given) for m in way.given}
            found = self.recurrent(
                given, sweeps=sweeps, seen=None if mask is None else {way.target: mask}, boost={**first, way.target: keep},
            )  # fmt: skip
            losses.append(self._error(found.logits[way.target], x[way.target], mask, way.target).mean(-1))
        return torch.stack(losses).sum(0)

    def _error(self, logits: Tensor, target: Tensor, seen: Tensor | None, m: str) -> Tensor:
        if self.paths[m].units == "binary":
            return unseen_loss(logits, target, seen)
        square = (logits - target).square() / 2
        return (square if seen is None else torch.where(seen, 0, square)).sum(-1)
