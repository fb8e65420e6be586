"""Parts that were trained one modality at a time: within the run, or before it and handed over with where they come from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.models import MultimodalModel
from mmtheory.rng import Draws

from ._heads import head_of
from .unimodal import Unimodal

SOME = 256
"""Samples whose inputs go into a fingerprint; all labels do."""


@final
@dataclass(frozen=True)
class Pretrained:
    """Encoders and heads by modality, as state dictionaries, and the fingerprint of the data that they were trained on.

    :param data: of ``fingerprint``; "" for parts that may come from anywhere.
    """

    encoders: Mapping[str, Mapping[str, Tensor]]
    heads: Mapping[str, Mapping[str, Tensor]]
    data: str = ""

    @classmethod
    def of(cls, model: MultimodalModel, auxiliary: nn.ModuleDict, train: Batch) -> Pretrained:
        """The parts of a unimodal (or UME) training: its model, its auxiliary parts, its training data."""
        names = [m for m in model.modalities if head_of(m) in auxiliary]
        return cls(
            {m: _copied(model.encoders[m]) for m in names},
            {m: _copied(auxiliary[head_of(m)]) for m in names},
            fingerprint(train),
        )

    def check(self, who: str, encoders: Mapping[str, nn.Module], heads: Mapping[str, nn.Module]) -> None:
        """:raises ArgumentError: a part that is missing, or that belongs to another architecture."""
        for what, held, wanted in (("encoder", self.encoders, encoders), ("head", self.heads, heads)):
            if missing := sorted(set(wanted) - set(held)):
                raise ArgumentError(
                    f"{who}: expected a pre-trained {what} of every modality, found none of {', '.join(missing)}"
                )
            for m, module in wanted.items():
                shapes = {k: tuple(v.shape) for k, v in module.state_dict().items()}
                found = {k: tuple(v.shape) for k, v in held[m].items()}
                if other := sorted(k for k in {*shapes, *found} if shapes.get(k) != found.get(k)):
                    raise ArgumentError(
                        f"{who}: expected a pre-trained {what} of {m} like the model's, {other[0]} {shapes.get(other[0])}, found {found.get(other[0])}"
                    )

    def check_data(self, who: str, train: Batch) -> None:
        """:raises ArgumentError: parts that were trained on other data."""
        if self.data and self.data != (here := fingerprint(train)):
            raise ArgumentError(
                f"{who}: expected parts that were pre-trained on this training data ({here}), found parts of other data ({self.data})"
            )


@final
class Keeping(Unimodal):
    """Unimodal training whose heads stay at hand."""

    def auxiliary(self, model: MultimodalModel, draws: Draws) -> Mapping[str, nn.Module]:
        self.kept = dict(super().auxiliary(model, draws))
        return self.kept


def fingerprint(train: Batch) -> str:
    """Twelve hexadecimal digits that two training sets share if labels, modalities and the first samples are the same.

    >>> import torch
    >>> one, other = (Batch({"a": torch.zeros(2, 1)}, torch.tensor(y)) for y in ([0, 1], [1, 0]))
    >>> fingerprint(one) == fingerprint(other)
    False
    """
    seen = hashlib.blake2b(digest_size=6)
    seen.update(train.y.detach().cpu().contiguous().numpy().tobytes())
    axis = train.y.ndim - 1
    for m in sorted(train.x):
        x = train.x[m]
        seen.update(f"{m} {tuple(x.shape)}".encode())
        some = x.narrow(axis, 0, min(SOME, x.shape[axis]))
        seen.update(some.detach().cpu().double().contiguous().numpy().tobytes())
    return seen.hexdigest()


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().clone() for k, v in module.state_dict().items()}
