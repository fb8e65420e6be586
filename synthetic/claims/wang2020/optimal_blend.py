"""C6.4: the blend of least overfitting-to-generalisation ratio weighs each learner by gain over squared overfitting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
import torch
from scipy import optimize

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import subsets
from mmtheory.stats import Interval
from synthetic.worlds import GaussianRegression


@final
@dataclass(frozen=True)
class OptimalBlend(Claim[GaussianRegression]):
    r"""Among blends Σ w_k v_k with Σ w_k = 1 and uncorrelated overfitting, OGR² is least at :math:`w_k \propto a_k/\sigma_k^2`.

    .. math:: \min_{\sum_k w_k = 1} \frac{\sum_k w_k^2\sigma_k^2}{(\sum_k w_k a_k)^2} = \Big(\sum_k a_k^2/\sigma_k^2\Big)^{-1}

    The gains a_k and overfittings σ_k are those of every subset's least squares in this world, at several sample sizes. The empirical side
    minimises the ratio numerically; the case of a size is the optimum's value, and one case a head is its weight.

    :param power: of σ in the weights; anything but 2 is a wrong formula, for the control.
    """

    sizes: tuple[int, ...] = (40, 60, 200)
    power: float = 2.0

    def broken_assumptions(self, world: GaussianRegression) -> tuple[str, ...]:
        d = sum(world.dims)
        return (
            ()
            if min(self.sizes) > d + 1
            else (f"least squares needs n > d + 1 = {d + 1}, found n = {min(self.sizes)}",)
        )

    def analytic(self, world: GaussianRegression) -> Sides:
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            blends = {",".join(sorted(s)): world.law.blending(n, s) for s in subsets(world.modalities)}
            raw = {s: b.gain / b.overfit**self.power for s, b in blends.items()}
            total = sum(raw.values())
            weight = {s: v / total for s, v in raw.items()}
            over = sum((weight[s] * b.overfit) ** 2 for s, b in blends.items())
            sides[f"OGR at n={n}"] = Interval.exact(over**0.5 / sum(weight[s] * b.gain for s, b in blends.items()))
            sides |= {f"weight of {s} at n={n}": Interval.exact(v) for s, v in weight.items()}
        return sides

    def empirical(self, world: GaussianRegression, trial: Trial) -> Sides:
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            gain, over = _moments(world, n)
            least = _minimised(gain, over)
            sides[f"OGR at n={n}"] = Interval.exact(float(np.sqrt(((least * over) ** 2).sum()) / (least @ gain)), 1e-12)
            for s, w in zip(subsets(world.modalities), least, strict=True):
                sides[f"weight of {','.join(sorted(s))} at n={n}"] = Interval.exact(float(w), 1e-12)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            Control(
                "weights by gain over overfitting, not squared",
                replace(self, id="C6.4!unsquared", power=1.0),
                self.world,
            ),
            Control("weights by gain alone", replace(self, id="C6.4!gain", power=0.0), self.world),
        )


def _moments(world: GaussianRegression, n: int) -> tuple[np.ndarray, np.ndarray]:
    """ΔG and ΔO of every subset's least squares, from the residual variance that a regression on the law's covariance leaves."""
    gain, over = list[float](), list[float]()
    for s in subsets(world.modalities):
        cov, cross = world.law.block(s)
        factor = torch.linalg.cholesky(cov)
        half = torch.linalg.solve_triangular(factor, cross[:, None], upper=False)
        left, d = world.law.variance - float((half**2).sum()), len(cross)
        train, test = left * (n - d) / n, left * (1 + d / (n - d - 1))
        gain.append(world.law.variance - test)
        over.append(test - train)
    return np.array(gain), np.array(over)


def _minimised(gain: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Weights of sum 1 with the least ratio, by a trust-region search from equal weights on the log ratio, gradient by hand."""
    count = len(gain)

    def ratio(free: np.ndarray) -> tuple[float, np.ndarray]:
        w = np.append(free, 1 - free.sum()) / over
        up, down = (w * over) @ (w * over), w @ gain
        slope = (2 * w * over**2 / up - 2 * gain / down) / over
        return float(np.log(up) - 2 * np.log(down)), slope[:-1] - slope[-1]

    start = np.full(count - 1, 1 / count)
    found = optimize.minimize(ratio, start, jac=True, method="BFGS", options={"gtol": 1e-13, "maxiter": 2000})
    # A few Newton steps on the gradient's root: BFGS stops where the value no longer changes in the last bits.
    root = optimize.root(lambda v: ratio(v)[1], found.x, tol=1e-14)
    w = np.append(root.x, 1 - root.x.sum()) / over
    return w / w.sum()


OPTIMAL_BLEND: Claim[Any] = OptimalBlend(
    id="C6.4",
    source=Source("wang2020", "Proposition 1: optimal blend", "known"),
    statement="With uncorrelated overfitting the blend of least OGR² has weights ∝ ΔG/ΔO².",
    world=GaussianRegression(snr=(3.0, 1.0, 0.5), dims=(2, 10, 4)),
    budgets={"small": Budget(1, 1), "full": Budget(1, 1)},
    margin=1e-8,
    unit="computations",
)
