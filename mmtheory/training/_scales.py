"""What a method's strength amounts to: each owner's gradient after the method was at it, beside before."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from mmtheory.methods import Gradients


@final
class Scales:
    r"""Lengths of gradients after a method changed them, over what they were, a mean over steps.

    .. math:: s_o = \frac1T \sum_t \frac{\lVert g_o^t\rVert}{\lVert \sum_{\text{rows } i} g_{o,i}^t\rVert}

    Equal settings of two methods (or of one in two networks) mean different things; these numbers can be compared. Steps in which an
    owner has no gradient do not count. Hand it to a trainer as ``Trainer.scales``; a replicate's numbers are its own.

    Source: derived here, for the trap of weights that scale the step with a layer's width.
    """

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Tensor, Tensor]] = {}

    def around(self, gradients: Gradients, change: Callable[[], Tensor]) -> Tensor:
        """What ``change`` makes of these gradients, its lengths noted."""
        reached = frozenset[str]().union(*gradients.reached.values()) & gradients.flat.columns.keys()
        before = {owner: _length([gradients.owned(row, owner) for row in gradients.rows]) for owner in reached}
        total = change()
        for owner, length in before.items():
            after = _length([total[..., gradients.flat.columns[owner]]])
            here = length > 0
            share = torch.where(here, after / torch.where(here, length, 1), 0)
            old, count = self._sums.get(owner, (torch.zeros_like(share), torch.zeros_like(share)))
            self._sums[owner] = old + share, count + here
        return total

    def told(self) -> dict[str, Tensor]:
        """Each owner's mean [*batch] since it was last asked, NaN where it never had a gradient; it begins anew."""
        found = {owner: total / count for owner, (total, count) in self._sums.items()}
        self._sums = {}
        return found


def _length(rows: list[Tensor]) -> Tensor:
    """Of the sum of rows [*batch, P], [*batch] in float64."""
    whole = rows[0] if len(rows) == 1 else torch.stack(rows).sum(0)
    return torch.linalg.vector_norm(whole.detach(), dim=-1).double()
