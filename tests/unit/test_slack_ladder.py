"""The slack ladder: how much of a bound could be saved, and what happens to one that cannot fail."""

from dataclasses import dataclass, replace

from mmtheory.claims import Budget, Claim, Control, Source, confront, misstated
from mmtheory.rng import Stream
from mmtheory.stats import Interval, Relation, Verdict
from synthetic.worlds import Table


@dataclass(frozen=True)
class Bounded(Claim[Table]):
    """``value`` is at most ``factor``."""

    value: float = 0.3
    factor: float = 1.0

    def analytic(self, world):
        return {"it": Interval.exact(self.factor)}

    def empirical(self, world, trial):
        return {"it": Interval.exact(self.value)}

    def controls(self) -> tuple[Control, ...]:
        return (misstated(self, "negative", lambda _side: Interval.exact(-1.0)),)

    def tightened(self, factor):
        return replace(self, id=f"{self.id}!{factor:g}", factor=factor)

    def remarks(self, world):
        return (f"{world.name} was looked at.",)


def bounded(value):
    budget = Budget(1, 1)
    return Bounded(
        id="ladder", source=Source("tests", "here", "derived here"), statement="It is bounded.", world=Table("xor"),
        budgets={"small": budget, "full": budget}, relation=Relation.AT_MOST, value=value,
    )  # fmt: skip


def test_descends_to_the_first_refutation():
    finding = confront(bounded(0.3), stream=Stream(0))
    assert finding.verdict is Verdict.HOLDS
    assert dict(finding.ladder) == {0.5: Verdict.HOLDS, 0.1: Verdict.VIOLATED}
    assert finding.tightness == 0.5
    assert finding.remarks == ("table was looked at.",)


def test_a_bound_that_survives_a_hundredth_is_vacuous():
    finding = confront(bounded(0.001), stream=Stream(0))
    assert finding.verdict is Verdict.VACUOUS
    assert finding.tightness == 0.01


def test_a_violated_bound_has_no_ladder():
    finding = confront(bounded(2.0), stream=Stream(0))
    assert finding.verdict is Verdict.VIOLATED
    assert finding.tightness is None
