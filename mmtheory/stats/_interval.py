"""Numbers with error bars, and the verdicts that compare them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from mmtheory.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class Interval:
    """[low, high]; misses the truth with probability at most ``alpha`` (0 means certified).

    Sums and differences add the alphas (the union bound), so no independence is ever assumed.

    :raises ArgumentError: NaN, low above high, or alpha outside [0, 1).

    >>> Interval(1, 2, 0.01) - Interval(0, 0.5, 0.02)
    Interval(low=0.5, high=2.0, alpha=0.03)
    """

    low: float
    high: float
    alpha: float = 0.0

    def __post_init__(self) -> None:
        for end in ("low", "high", "alpha"):
            object.__setattr__(self, end, float(getattr(self, end)))
        if not self.low <= self.high:
            raise ArgumentError(f"interval: expected low <= high, found [{self.low}, {self.high}]")
        if not 0.0 <= self.alpha < 1.0:
            raise ArgumentError(f"interval: expected alpha in [0, 1), found {self.alpha}")

    @classmethod
    def exact(cls, value: float, abs_err: float = 0.0) -> Interval:
        """A certified value with its numerical error, alpha = 0."""
        return cls(float(value) - abs_err, float(value) + abs_err)

    @classmethod
    def around(cls, value: float, radius: float, alpha: float) -> Interval:
        """``value`` ± ``radius`` at level ``alpha``."""
        return cls(float(value) - radius, float(value) + radius, alpha)

    @property
    def middle(self) -> float:
        """The midpoint (the finite end when the other is infinite)."""
        if math.isinf(self.low) or math.isinf(self.high):
            return self.high if math.isinf(self.low) else self.low
        return self.low + (self.high - self.low) / 2

    @property
    def width(self) -> float:
        """high − low."""
        return self.high - self.low

    def __contains__(self, value: float) -> bool:
        """Whether the value lies inside, ends included."""
        return self.low <= value <= self.high

    def __add__(self, other: Interval | float) -> Interval:
        """Sum of two quantities; alphas add."""
        o = other if isinstance(other, Interval) else Interval(other, other)
        return Interval(self.low + o.low, self.high + o.high, self.alpha + o.alpha)

    def __neg__(self) -> Interval:
        """The interval of the negated quantity."""
        return Interval(-self.high, -self.low, self.alpha)

    def __sub__(self, other: Interval | float) -> Interval:
        """Difference of two quantities; alphas add."""
        return self + (-other)

    def __mul__(self, factor: float) -> Interval:
        """The quantity times a known number."""
        ends = sorted((self.low * factor, self.high * factor))
        return Interval(ends[0], ends[1], self.alpha)

    __rmul__ = __mul__
    __radd__ = __add__

    def clipped(self, low: float, high: float) -> Interval:
        """The part inside a range in which the quantity is known to lie."""
        return Interval(min(max(self.low, low), high), max(min(self.high, high), low), self.alpha)

    def as_list(self) -> list[float]:
        """[low, high], as JSON shows it."""
        return [self.low, self.high]


class Verdict(Enum):
    """What confronting a claim with a world came to."""

    HOLDS = "holds"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    OUT_OF_SCOPE = "out of scope"
    VACUOUS = "vacuous"


class Relation(Enum):
    """How the left side of a claim is said to stand to the right side."""

    AT_MOST = "<="
    AT_LEAST = ">="
    EQUAL = "=="


def decide(left: Interval, relation: Relation, right: Interval, *, margin: float = 0.0) -> Verdict:
    """HOLDS or VIOLATED only if every pair of points in the two intervals says so; INCONCLUSIVE otherwise.

    :param margin: AT_MOST means left ≤ right + margin, AT_LEAST left ≥ right − margin, EQUAL |left − right| ≤ margin; 0 is the bare relation.
    :raises ArgumentError: a negative margin.

    >>> decide(Interval(0, 1), Relation.AT_MOST, Interval.exact(2)).value
    'holds'
    """
    if not margin >= 0:
        raise ArgumentError(f"decide: expected margin >= 0, found {margin}")
    low, high = _difference(left, right)
    if relation is Relation.AT_MOST:
        good, bad = high <= margin, low > margin
    elif relation is Relation.AT_LEAST:
        good, bad = low >= -margin, high < -margin
    else:
        good, bad = -margin <= low and high <= margin, low > margin or high < -margin
    return Verdict.HOLDS if good else Verdict.VIOLATED if bad else Verdict.INCONCLUSIVE


def _difference(left: Interval, right: Interval) -> tuple[float, float]:
    """Ends of left − right, with inf − inf read as "nothing known"."""
    low, high = left.low - right.high, left.high - right.low
    return (-math.inf if math.isnan(low) else low), (math.inf if math.isnan(high) else high)


def joint(verdicts: Mapping[str, Verdict]) -> Verdict:
    """The verdict on "all of these": VIOLATED if any is, HOLDS if all do, else INCONCLUSIVE."""
    if not verdicts:
        raise ArgumentError("joint: expected at least one verdict, found none")
    found = set(verdicts.values())
    if Verdict.VIOLATED in found:
        return Verdict.VIOLATED
    return Verdict.HOLDS if found == {Verdict.HOLDS} else Verdict.INCONCLUSIVE
