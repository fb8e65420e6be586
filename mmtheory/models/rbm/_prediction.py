"""Multi-prediction training: each modality from the others through recurrent sweeps, or random units from the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mmtheory.errors import ArgumentError

from ._machine import MultimodalRBM
from ._recurrent import recurrent


@final
@dataclass(frozen=True)
class Direction:
    """Which modalities are given, and which one is predicted from them."""

    given: tuple[str, ...]
    target: str


def directions(modalities: Sequence[str], which: str = "both") -> tuple[Direction, ...]:
    """The predictions that a loss adds up.

    :param which: ``both`` predicts every modality from all others; ``x->y`` modality y from x alone; ``->y`` y from all others.
    :raises ArgumentError: fewer than two modalities, an unknown one, or another form.

    >>> directions("xyz", "x->z")
    (Direction(given=('x',), target='z'),)
    >>> [d.target for d in directions("xy")]
    ['x', 'y']
    """
    names = tuple(modalities)
    if len(names) < 2:
        raise ArgumentError(f"directions: expected two modalities or more, found {', '.join(names) or 'none'}")
    if which == "both":
        return tuple(Direction(tuple(m for m in names if m != target), target) for target in names)
    given, arrow, target = (part.strip() for part in which.partition("->"))
    known = target in names and (not given or (given in names and given != target))
    if not arrow or not known:
        forms = f"both, ->{names[0]}, {names[0]}->{names[1]} among {', '.join(names)}"
        raise ArgumentError(f"directions: expected a direction like {forms}, found {which!r}")
    return (Direction((given,) if given else tuple(m for m in names if m != target), target),)


def unseen_loss(logits: Tensor, target: Tensor, seen: Tensor | None = None) -> Tensor:
    """Cross-entropy of binary units with these logits, summed over the units that are not seen: [*batch_shape, n]. Unit: nat.

    >>> round(float(unseen_loss(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([[True, False, False]]))), 4)
    1.3863
    """
    loss = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss if seen is None else torch.where(seen, 0, loss)).sum(-1)


def multi_prediction_loss(
    machine: MultimodalRBM,
    x: Mapping[str, Tensor],
    *,
    sweeps: int,
    direction: str = "both",
    seen: Mapping[str, Tensor] | None = None,
    keep: float = 0.0,
    horizon: int | None = None,
    doubling: bool = True,
    sparsity: float = 0.0,
    active: float = 0.1,
) -> Tensor:
    r"""Mean cross-entropy of every modality predicted from the others by n recurrent sweeps.

    .. math:: L = \sum_{d} \frac1n \sum_i \sum_j \mathrm{CE}\big(x_{d,ij},\, \hat x_{d,ij}(x_{\setminus d,i})\big)

    The surrogate of the variation of information whose conditionals are those of the sweeps: at least H(x_d | rest) for every direction,
    and above the machine's own conditional loss only by what the sweeps lose against its exact conditionals.

    Shape: x[m] [*batch_shape, n, D_m] -> [*batch_shape]. Unit: nat.

    :param direction: as in ``directions``.
    :param seen: units of a target that are clamped too (bool, shape of x[m]), by target; they are not predicted (partial clamping).
    :param keep: the largest probability with which ``seen`` was drawn; the first guess counts the others (M − keep)/(M − 1) times for
        all M groups in place of M/(M − 1). 0 without partial clamping.
    :param horizon: as in ``recurrent``.
    :param doubling: whether the first guess counts the given modalities for the missing one too; False counts them once.
    :param sparsity: λ of the penalty −λ Σ_k (ρ ln q_k + (1 − ρ) ln(1 − q_k)) on each hidden unit's mean q_k after the last sweep, a direction
        each; 0 for none. ``active``: ρ, the mean that costs least.
    :raises ArgumentError: an unknown direction or group, other widths, a negative number of sweeps, keep outside [0, 1].

    Source: Sohn, Shang and Lee 2014, multi-prediction training (code).
    """
    if not 0 <= keep <= 1:
        raise ArgumentError(f"multi-prediction: expected keep in [0, 1], found {keep}")
    losses: list[Tensor] = []
    for way in directions(machine.groups, direction):
        mask = None if seen is None else seen.get(way.target)
        given = {m: x[m] for m in (*way.given, *(() if mask is None else (way.target,)))}
        counted = len(machine.groups) - (keep if mask is not None else 0.0)
        first = dict.fromkeys(way.given, counted / len(way.given) if doubling else 1.0)
        found = recurrent(
            machine, given, sweeps=sweeps, seen=None if mask is None else {way.target: mask},
            boost={**first, way.target: 1.0}, horizon=horizon,
        )  # fmt: skip
        losses.append(unseen_loss(found.logits[way.target], x[way.target], mask).mean(-1))
        if sparsity:
            mean = found.hidden.mean(-2).clamp(1e-6, 1 - 1e-6)
            losses.append(-sparsity * (active * mean.log() + (1 - active) * (1 - mean).log()).sum(-1))
    return torch.stack(losses).sum(0)


def subset_prediction_loss(
    machine: MultimodalRBM,
    x: Mapping[str, Tensor],
    seen: Mapping[str, Tensor],
    *,
    sweeps: int,
    horizon: int | None = None,
) -> Tensor:
    """Mean cross-entropy of the units that are not seen, predicted from those that are, whatever modality they belong to.

    The multi-prediction of deep Boltzmann machines, which the paper compares modality → modality prediction with.

    Shape: x[m] and seen[m] (bool) [*batch_shape, n, D_m] of every group -> [*batch_shape]. Unit: nat.

    :raises ArgumentError: a group without mask, other widths, a negative number of sweeps.

    Source: Goodfellow et al. 2013 (MP-DBM), in the comparison of Sohn, Shang and Lee 2014.
    """
    if missing := [m for m in machine.groups if m not in seen]:
        raise ArgumentError(f"subset prediction: expected a mask for every group, found none for {missing[0]!r}")
    # All units over the units seen, so that the first guess of h is driven as strongly as by a whole sample.
    share = torch.cat([seen[m] for m in machine.groups], -1).to(machine.hidden.dtype).mean(-1, keepdim=True)
    boost = 1 / share.clamp(min=1 / sum(machine.widths.values()))
    found = recurrent(machine, x, sweeps=sweeps, seen=seen, boost=dict.fromkeys(machine.groups, boost), horizon=horizon)
    losses = [unseen_loss(found.logits[m], x[m], seen[m]) for m in machine.groups]
    return torch.stack(losses).sum(0).mean(-1)
