"""Learners that add features in falling probability until every training sample is covered, draw by draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor


@final
@dataclass(frozen=True)
class Learnt:
    """How many features of each modality were learnt alone and jointly, and the 0–1 risks that follow exactly.

    Shape: counts and risks [*batch_shape].
    """

    alone: Mapping[str, Tensor]
    jointly: Mapping[str, Tensor]
    unimodal_risk: Mapping[str, Tensor]
    ensemble_risk: Tensor
    joint_risk: Tensor
    distilled_risk: Tensor


def cover(
    presence: Mapping[str, tuple[float, ...]], pairs: Mapping[tuple[str, str], float], shown: Mapping[str, Tensor]
) -> Learnt:
    """Let every learner stop at the first prefix of its features that covers all samples, or learn all of them.

    A unimodal learner has its modality's features; the joint learner all of them and the paired ones, merged in falling probability
    (ties in the order of modalities, paired last); the ensemble adds the unimodal learners; the distilled learner (UMT) has what
    the teachers and the joint learner have. Nothing here depends on the occurrences being random.

    Shape: shown[key] [*batch_shape, n, F] of bool, F = 1 for a pair, whose key is the joined names.
    """
    shape = next(iter(shown.values())).shape[:-2]
    alone = {m: _stop(shown[m]) for m in presence}
    chain = [(-p, m, i) for m, row in presence.items() for i, p in enumerate(row)]
    chain = sorted([*chain, *((-q, "".join(pair), 0) for pair, q in pairs.items())], key=lambda link: link[0])
    joint = _stop(torch.stack([shown[key][..., i] for _, key, i in chain], -1)) if chain else torch.zeros(shape)
    jointly = {
        m: sum(((joint > at).to(torch.int64) for at, (_, key, _) in enumerate(chain) if key == m), _zeros(shape))
        for m in presence
    }
    risk = {m: _left(row, alone[m]) for m, row in presence.items()}
    ensemble = _product(list(risk.values()), shape)
    learnt_pairs = _product(
        [torch.where(joint > at, 1 + minus, 1.0) for at, (minus, key, _) in enumerate(chain) if key not in presence],
        shape,
    )
    own = _product([_left(row, jointly[m]) for m, row in presence.items()], shape)
    return Learnt(
        alone, jointly, {m: r / 2 for m, r in risk.items()},
        ensemble / 2, own * learnt_pairs / 2, ensemble * learnt_pairs / 2,
    )  # fmt: skip


def _stop(shown: Tensor) -> Tensor:
    """The least k such that the first k columns cover every row; all columns if none does."""
    width = shown.shape[-1]
    covered = (shown.to(torch.int64).cumsum(-1) > 0).all(-2)
    return width - covered.to(torch.int64).sum(-1) + covered.any(-1).to(torch.int64) if width else covered.sum(-1)


def _left(row: tuple[float, ...], count: Tensor) -> Tensor:
    """Π_{i≤k}(1 − p_i) for each k in ``count``."""
    steps = torch.cat([torch.ones(1, dtype=torch.float64), (1 - torch.tensor(row, dtype=torch.float64)).cumprod(0)])
    return steps[count]


def _zeros(shape: torch.Size) -> Tensor:
    """No features."""
    return torch.zeros(shape, dtype=torch.int64)


def _product(parts: list[Tensor], shape: torch.Size) -> Tensor:
    """Of all parts, 1 for none."""
    out = torch.ones(shape, dtype=torch.float64)
    for part in parts:
        out = out * part
    return out
