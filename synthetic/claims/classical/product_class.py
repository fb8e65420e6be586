"""C9.1: the complexity of a late-fusion class is the sum of its modalities', and Khintchine's bracket is attained at both ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.bounds import ball_supremum, every_sign, khintchine_bracket
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.rng import Stream
from mmtheory.stats import Interval, student
from synthetic.worlds import Histogram


@final
@dataclass(frozen=True)
class ProductClass(Claim[Histogram]):
    r"""Complexities on fixed points, by enumerating every sign vector, against maximisers evaluated under random signs.

    .. math:: \hat R\Big(\sum_m \langle w_m, x_m\rangle,\ \|w_m\| \le B_m\Big) = \sum_m \hat R_m, \qquad
        \hat R_{\|w\| \le B} \in [1/\sqrt2, 1]\,\tfrac Bm \sqrt{\textstyle\sum_i \|x_i\|^2}

    Cases: a product of three modalities; two equal points, which attain the lower end; orthogonal points, which attain the upper.

    :param rule: ``sum``, or ``largest`` (a group ball's formula), for the control.
    """

    rule: Literal["sum", "largest"] = "sum"

    def parts(self) -> list[Tensor]:
        """Twelve fixed points in three modalities, which belong to the statement and not to the trial."""
        draws = Stream(0, ("C9.1", "points")).draws()
        return [draws.normal(name, 12, d) for name, d in (("a", 1), ("b", 3), ("c", 5))]

    def analytic(self, world: Histogram) -> Sides:
        own = [ball_supremum(x, every_sign(12), b).mean() for x, b in zip(self.parts(), (1.0, 0.5, 0.25), strict=True)]
        whole = torch.stack(own).sum() if self.rule == "sum" else torch.stack(own).amax()
        low, _ = khintchine_bracket(torch.ones(2, 1, dtype=torch.float64), 1.0)
        _, high = khintchine_bracket(torch.eye(4, dtype=torch.float64), 1.0)
        values = {"three modalities": whole, "two equal points": low, "orthogonal points": high}
        return {name: Interval.exact(float(v), 1e-12) for name, v in values.items()}

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        sets = {
            "three modalities": (self.parts(), (1.0, 0.5, 0.25)),
            "two equal points": ([torch.ones(2, 1, dtype=torch.float64)], (1.0,)),
            "orthogonal points": ([torch.eye(4, dtype=torch.float64)], (1.0,)),
        }
        found: dict[str, Interval] = {}
        for name, (parts, radii) in sets.items():
            signs = trial.stream.child(name).draws().signs("signs", trial.n, len(parts[0]))
            values = torch.zeros_like(signs)
            for x, radius in zip(parts, radii, strict=True):
                reach = signs @ x
                best = radius * reach / torch.linalg.vector_norm(reach, dim=-1, keepdim=True).clamp(min=1e-300)
                values += best @ x.mT
            found[name] = student((signs * values).mean(-1), alpha=trial.alpha / len(sets)) + Interval.exact(0.0, 1e-12)
        return found

    def controls(self) -> tuple[Control, ...]:
        return (Control("the largest modality alone", replace(self, id="C9.1!largest", rule="largest"), self.world),)


PRODUCT_CLASS: Claim[Any] = ProductClass(
    id="C9.1",
    source=Source("classical", "suprema over product classes; Khintchine–Kahane", "known"),
    statement="A late-fusion class has the sum of its modalities' Rademacher complexities; Khintchine's bracket is tight at both ends.",
    world=Histogram(),
    budgets={"small": Budget(40000, 640000), "full": Budget(640000, 1280000)},
    margin=0.01,
    unit="sign vectors",
)
