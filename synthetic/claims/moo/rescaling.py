"""MMPareto: one factor an encoder keeps the common descent direction, one a parameter tensor may turn it against a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.moo import MMPareto
from mmtheory.stats import Interval, Relation
from synthetic.worlds import Quad


@final
@dataclass(frozen=True)
class Rescaling(Claim[Quad]):
    r"""Random pairs of gradients of an encoder of several tensors: the least cosine with the direction where they conflict.

    .. math:: \min_i \frac{\langle g_i, d\rangle}{\|g_i\|\,\|d\|} \ge 0, \qquad \cos > 0 \Rightarrow w = \gamma (1, 1)

    Second case: minus the largest deviation from γ times the sum where they agree (``encoder`` only).

    :param rescale: over what the magnitude is restored.
    :param spread: decades by which the two gradients' lengths differ; beyond 3 the weights' floor of 0.001 costs the descent, too.
    """

    rescale: Literal["encoder", "tensor"] = "encoder"
    spread: float = 1.0
    tensors: int = 3
    size: int = 3

    def analytic(self, world: Quad) -> Sides:
        return {"conflict": Interval.exact(0.0), "agreement": Interval.exact(0.0)}

    def empirical(self, world: Quad, trial: Trial) -> Sides:
        draws = trial.stream.draws()
        tilt = 10 ** (2 * draws.uniform("tilt", trial.n, self.tensors, 2, 1) - 1)
        rows = tilt * draws.normal("rows", trial.n, self.tensors, 2, self.size)
        # The second gradient leans against the first, so that about half of the pairs conflict, and is longer by up to ``spread`` decades.
        rows[..., 1, :] -= 0.3 * rows[..., 0, :]
        rows[..., 1, :] *= 10 ** (self.spread * draws.uniform("length", trial.n, 1, 1))
        local = rows @ rows.mT
        local = (local + local.mT) / 2
        method = MMPareto(rescale=self.rescale)
        w = method.tensor_weights(local)
        slopes = (local @ w[..., None])[..., 0].sum(-2)
        length = (w * (local @ w[..., None])[..., 0]).sum((-1, -2)).sqrt()
        whole = local.sum(-3)
        cosine = slopes / whole.diagonal(dim1=-2, dim2=-1).sqrt() / length[..., None]
        conflict = whole[..., 0, 1] <= 0
        off = (w / method.gamma - 1).abs().amax((-1, -2))
        agree = torch.where(conflict, 0.0, off).amax() if self.rescale == "encoder" else torch.tensor(0.0)
        return {
            "conflict": Interval.exact(float(torch.where(conflict, cosine.amin(-1), 1.0).amin())),
            "agreement": Interval.exact(-float(agree)),
        }

    def controls(self) -> tuple[Control, ...]:
        tensor = replace(self, id=f"{self.id}!tensor", rescale="tensor")
        wide = replace(self, id=f"{self.id}!wide", spread=6.0)
        return (
            Control("one factor a parameter tensor", tensor, self.world),
            Control("lengths six decades apart, where the weights' floor binds", wide, self.world),
        )


RESCALING: Claim[Any] = Rescaling(
    id="moo/mmpareto",
    source=Source("moo", "moo.md §2: Wei & Hu 2024, the magnitude restored by encoder", "derived here"),
    statement="MMPareto rescaled by encoder never conflicts with either loss, and is γ times the sum where the losses agree.",
    world=Quad(),
    budgets={"small": Budget(4000, 4000), "full": Budget(100_000, 100_000)},
    relation=Relation.AT_LEAST,
    margin=1e-9,
    unit="pairs of gradients",
)
