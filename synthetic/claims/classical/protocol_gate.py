"""C9.3: the gate of protocol H raises few false alarms and catches bounds that fail too often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import Interval, clopper_pearson, gate, gate_power
from synthetic.worlds import Histogram


@final
@dataclass(frozen=True)
class ProtocolGate(Claim[Histogram]):
    """A bound failing with probability p is rejected, by its failures in 1000 replicates, as often as the binomial tail says.

    Cases: p = δ/2, δ, 1.6δ, 1.8δ and 3δ. The empirical side simulates replicated failures; the world only lends its name.

    :param level: of the gate that the empirical side applies; the analytic one is at 10⁻³, so that another is a control.
    """

    delta: float = 0.05
    level: float = 1e-3

    def _rates(self) -> dict[str, float]:
        return {f"fails at {c:g} delta": c * self.delta for c in (0.5, 1.0, 1.6, 1.8, 3.0)}

    def analytic(self, world: Histogram) -> Sides:
        return {name: Interval.exact(gate_power(1000, self.delta, 1e-3, p), 1e-10) for name, p in self._rates().items()}

    def empirical(self, world: Histogram, trial: Trial) -> Sides:
        rates, threshold = self._rates(), gate(1000, self.delta, self.level)
        found: dict[str, Interval] = {}
        for name, p in rates.items():
            failures = trial.stream.child(name).numpy().binomial(1000, p, size=trial.n)
            found[name] = clopper_pearson(int((failures >= threshold).sum()), trial.n, alpha=trial.alpha / len(rates))
        return found

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("a gate at one in a hundred", replace(self, id="C9.3!loose", level=1e-2), self.world),
            Control("a gate at one in ten thousand", replace(self, id="C9.3!strict", level=1e-4), self.world),
        )


PROTOCOL_GATE: Claim[Any] = ProtocolGate(
    id="C9.3",
    source=Source("classical", "protocol H, its gate and power", "derived here"),
    statement="Protocol H rejects a bound failing with probability p as often as P(Bin(1000, p) ≥ gate) says.",
    world=Histogram(),
    budgets={"small": Budget(100000, 400000), "full": Budget(400000, 3200000)},
    margin=0.006,
    unit="simulated bounds",
)
