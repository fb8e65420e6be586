"""Claims that misbehave in every way a claim can, for a test distribution that registers them through the entry-point group."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

from mmtheory.batch import Batch
from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.errors import DataError
from mmtheory.rng import Draws
from mmtheory.stats import Interval, Relation, student
from mmtheory.world import World


@final
@dataclass(frozen=True)
class Coin(World):
    """A normal draw around ``mean``."""

    name: ClassVar[str] = "coin"
    task: ClassVar[Any] = "regression"
    mean: float = 1.0

    @property
    def modalities(self) -> tuple[str, ...]:
        return ("a",)

    def draw(self, n: int, draws: Draws) -> Batch:
        x = draws.normal("x", n, 1) + self.mean
        return Batch({"a": x}, x[..., 0])

    def exact(self) -> dict:
        return {("bayes_risk", "trivial"): lambda _given: Interval.exact(self.mean)}


@final
@dataclass(frozen=True)
class Odd(Claim[Coin]):
    """The mean is what the dial says; ``mood`` says what goes wrong."""

    mood: str = "good"
    names: tuple[str, ...] = ("mean",)

    def broken_assumptions(self, world: Coin) -> tuple[str, ...]:
        return ("the coin would have to be fair",) if self.mood == "scope" else ()

    def analytic(self, world: Coin) -> Sides:
        top = Interval(world.mean, float("inf")) if self.mood == "infinite" else world.known("bayes_risk", {"a"})
        return dict.fromkeys(self.names, top * (1.2 if self.mood == "wrong" else 1.0))

    def empirical(self, world: Coin, trial: Trial) -> Sides:
        if self.mood == "raises":
            raise ZeroDivisionError("an accident")
        if self.mood == "data":
            raise DataError("odd.csv: expected finite numbers, found NaN in row 3")
        if self.mood == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mood == "dies once" and not os.path.exists(os.environ["ODD_MARK"]):
            open(os.environ["ODD_MARK"], "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mood == "slow":
            time.sleep(float(os.environ.get("ODD_SLEEP", "0.3")))
        y = world.sample(trial.n, stream=trial.stream).y
        return {name: student(y, alpha=trial.alpha / len(self.names)) for name in self.names}

    def controls(self) -> tuple[Control, ...]:
        if self.mood == "empty":
            return (misstated(self, "same again", lambda side: side),)
        return (misstated(self, "five times the mean", lambda side: side * 5.0),)


BASE = Odd(
    id="odd/good",
    source=Source("odd2026", "Theorem <1> & others", "derived here"),
    statement="The mean of the coin is its dial <b>mean</b>.",
    world=Coin(),
    budgets={"small": Budget(2000, 64000), "full": Budget(4000, 64000)},
    margin=0.04,
)
MOODS = ("good", "wrong", "scope", "raises", "data", "dies", "dies once", "empty", "slow")


def _claims() -> Mapping[str, Claim[Any]]:
    made = [replace(BASE, id=f"odd/{mood.replace(' ', '-')}", mood=mood) for mood in MOODS]
    made += [
        replace(
            BASE, id=f"curve/{r.name.lower()}", relation=r, names=tuple(f"n={2**k}" for k in range(3, 11)), margin=0.05
        )
        for r in Relation
    ]
    made += [
        replace(
            BASE,
            id="wide/rows",
            names=tuple(f"a rather long name of case number {i} of many, ${i}$" for i in range(40)),
            margin=0.06,
        ),
        replace(BASE, id="wide/infinite", mood="infinite", relation=Relation.AT_MOST, names=("first", "second")),
    ]
    made += [replace(BASE, id=f"many/{i}", mood="slow") for i in range(6)]
    return {claim.id: claim for claim in made}


CLAIMS = _claims()
