"""Du et al.'s guiding rule: do the frozen unimodal features know more together than their predictions do on average?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mmtheory.errors import ArgumentError

from ._probes import hits, ridge_scores


class GuidingRule(NamedTuple):
    """Which samples each side gets right, 0 or 1 each, [*batch, n_held]."""

    averaged: Tensor
    joint: Tensor

    @property
    def gain(self) -> Tensor:
        """By how much the joint readout is more accurate than the average, [*batch]."""
        return (self.joint - self.averaged).mean(-1)

    @property
    def choice(self) -> Literal["ume", "umt"]:
        """What the rule advises, over all replicates: ``umt`` where features pair up, else ``ume``."""
        return "umt" if float(self.gain.mean()) > 0 else "ume"


def guiding_rule(
    seen: Mapping[str, Tensor], y: Tensor, held: Mapping[str, Tensor], y_held: Tensor, predictions: Mapping[str, Tensor],
    *, ridge: float = 1e-3,
) -> GuidingRule:  # fmt: skip
    """Compare the mean of unimodal predictions with a linear readout of all frozen unimodal features side by side.

    The readout is ``ridge_scores``; it hears products of modalities only if a feature holds them already, so that a label that is
    nothing but a product (a parity) looks to the rule as if the modalities had nothing to add.

    Shape: seen [*batch, n, d_m] and y [*batch, n], held [*batch, k, d_m] and y_held [*batch, k], predictions (logits) [*batch, k, classes].

    :param predictions: of the held samples, by modality.
    :param ridge: of the readout.
    :raises ArgumentError: modalities that disagree.

    Source: Du et al. 2023 (ICML), the choice between UME and UMT; the ridge readout is ours.

    >>> z, y = {"a": torch.eye(2)}, torch.tensor([0, 1])
    >>> guiding_rule(z, y, z, y, {"a": torch.eye(2)}).choice
    'ume'
    """
    if not set(seen) == set(held) == set(predictions) or not seen:
        raise ArgumentError(
            f"guiding_rule: expected the same modalities thrice, found {sorted(seen)}, {sorted(held)}, {sorted(predictions)}"
        )
    names = sorted(seen)
    mean = torch.stack([predictions[m] for m in names]).mean(0)
    together, fresh = (torch.cat([part[m] for m in names], -1) for part in (seen, held))
    return GuidingRule(hits(mean, y_held), hits(ridge_scores(together, y, fresh, mean.shape[-1], ridge=ridge), y_held))
