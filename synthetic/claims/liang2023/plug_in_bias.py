"""C7.3: the plug-in estimate of the joint information is biased upwards by (cells − 1)(classes − 1)/2n."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import information
from mmtheory.stats import Interval, student
from synthetic.worlds import Table

from ._tables import redrawn


@final
@dataclass(frozen=True)
class PlugInBias(Claim[Table]):
    r"""Counting n samples overstates the information, in inverse proportion to n.

    .. math:: E\,\hat I - I = \frac{(|X_1||X_2| - 1)(|Y| - 1)}{2n} + O(n^{-2})

    Cases: n times the bias at each n, and the slope of its logarithm, as a multiple of the predicted factor so that one margin fits all. The
    likelihood ratio of the same samples, whose mean is I, is subtracted: it takes nearly all of the noise away.

    :param sizes: sample sizes, all large enough for every cell to be seen.
    """

    sizes: tuple[int, ...] = (200, 800)

    def broken_assumptions(self, world: Table) -> tuple[str, ...]:
        least = float(world.table.min())
        needed = self.sizes[0] * least
        return () if needed >= 4 else (f"every cell must expect at least 4 samples, found {needed:.2g}",)

    def analytic(self, world: Table) -> Sides:
        return {**{f"n={n}": Interval.exact(1.0) for n in self.sizes}, "slope": Interval.exact(-1.0)}

    def empirical(self, world: Table, trial: Trial) -> Sides:
        joint = world.table.reshape(-1, world.classes)
        rows, columns = joint.shape
        predicted = (rows - 1) * (columns - 1) / 2
        ratio = (joint / (joint.sum(1, keepdim=True) * joint.sum(0))).log()
        alpha = trial.alpha / len(self.sizes) / 2
        bias: dict[int, Interval] = {}
        for n in self.sizes:
            drawn = redrawn(joint, n, trial.stream.child(n), trial.n)
            bias[n] = student(information(drawn) - (drawn * ratio).sum((1, 2)), alpha=alpha) * (n / predicted)
        first, last = self.sizes[0], self.sizes[-1]
        span = math.log(last / first)
        low = -1 + math.log(max(bias[last].low, 1e-9) / bias[first].high) / span
        high = -1 + math.log(max(bias[last].high, 1e-9) / max(bias[first].low, 1e-9)) / span
        return {**{f"n={n}": side for n, side in bias.items()}, "slope": Interval(low, high, 2 * alpha)}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "no bias", lambda side: side * 0.0),
            misstated(self, "a third more", lambda side: side * (4 / 3)),
        )


PLUG_IN_BIAS: Claim[Any] = PlugInBias(
    id="C7.3",
    source=Source("liang2023", "the plug-in estimator; Miller and Madow's term", "known"),
    statement="The plug-in joint information is biased upwards by (cells − 1)(classes − 1)/2n.",
    world=Table("bsc", flip=(0.3, 0.35)),
    budgets={"small": Budget(3000, 12000), "full": Budget(8000, 64000)},
    margin=0.14,
    unit="replicates",
)
