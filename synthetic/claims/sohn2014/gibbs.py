"""R1.3: alternating the two conditionals samples the joint law, and forgets its start by the squared maximal correlation a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.info import maximal_correlation
from mmtheory.rng import Stream
from mmtheory.stats import Interval, clopper_pearson
from synthetic.worlds import SelectionTable

from .conditional_loss import pair_law

SWEEPS, LATE = 12, 14


@final
@dataclass(frozen=True)
class Gibbs(Claim[SelectionTable]):
    r"""The chain x → y ~ p(y|x) → x' ~ p(x'|y) has the joint law for its stationary law, and its distance from it falls like ρ²ᵗ.

    .. math:: \|T^{t+1}(x,\cdot) - \pi\| / \|T^t(x,\cdot) - \pi\| \to \rho_{\max}^2

    Left: frequencies of (x, y) after a dozen sweeps of chains that all start at one symbol, and the fall of the distance late in the
    powers of the chain, whose transitions are built from the law's conditionals.
    """

    def analytic(self, world: SelectionTable) -> Sides:
        law = pair_law(world)
        cells = {f"P({i},{j})": Interval.exact(float(v)) for i, row in enumerate(law) for j, v in enumerate(row)}
        return {**cells, "fall a sweep": Interval.exact(float(maximal_correlation(law)) ** 2, 1e-9)}

    def empirical(self, world: SelectionTable, trial: Trial) -> Sides:
        law = pair_law(world)
        alpha = trial.alpha / law.numel()
        count = _frequencies(law, trial.stream.child("chains", trial.n), trial.n)
        sides = {
            f"P({i},{j})": clopper_pearson(int(count[i, j]), trial.n, alpha=alpha)
            for i in range(law.shape[0])
            for j in range(law.shape[1])
        }
        forth, back = law / law.sum(1, keepdim=True), law.mT / law.sum(0)[:, None]
        state, distance = torch.eye(len(law)).to(law)[0], list[float]()
        for _ in range(LATE):
            state = state @ forth @ back
            distance.append(float((state - law.sum(1)).norm()))
        return {**sides, "fall a sweep": Interval.exact(distance[-1] / distance[-2])}

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "the correlation, not its square", lambda side: _root(side)),
            misstated(self, "every cell alike", lambda _side: Interval.exact(1 / 9)),
        )


def _root(side: Interval) -> Interval:
    """The square root of a positive side."""
    return Interval(side.low**0.5, side.high**0.5)


def _frequencies(law: torch.Tensor, stream: Stream, chains: int) -> torch.Tensor:
    """How many chains are in each (x, y) after the sweeps."""
    forth, back = (law / law.sum(1, keepdim=True)).cumsum(1), (law.mT / law.sum(0)[:, None]).cumsum(1)
    draws = stream.draws()
    x = torch.zeros(chains, dtype=torch.int64)
    y = x
    for t in range(SWEEPS):
        y = _pick(forth[x], draws.uniform(f"y {t}", chains))
        if t < SWEEPS - 1:
            x = _pick(back[y], draws.uniform(f"x {t}", chains))
    return torch.bincount(x * law.shape[1] + y, minlength=law.numel()).reshape(law.shape)


def _pick(steps: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """The symbol each uniform number falls on, [chains]."""
    return (uniform[:, None] * steps[:, -1:] >= steps).sum(-1).clamp(max=steps.shape[-1] - 1)


GIBBS: Claim[Any] = Gibbs(
    id="R1.3",
    source=Source("sohn2014", "the Gibbs chain of Theorem 1; its rate derived here", "recalled"),
    statement="Sampling the conditionals in turn gives the joint law, at the rate of the squared maximal correlation a sweep.",
    world=SelectionTable(kappa=(2.0, 1.5), lam=1.0),
    budgets={"small": Budget(20_000, 80_000), "full": Budget(200_000, 800_000)},
    margin=0.02,
    unit="chains",
)
