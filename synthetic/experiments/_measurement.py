"""What a world's own mechanism came to when it was simulated, beside what its formula says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self, final

from torch import Tensor

from mmtheory.stats import Interval, clopper_pearson, student


@final
@dataclass(frozen=True)
class Measurement:
    """A simulated mean with its interval, out of how many, and the exact side."""

    quantity: str
    mean: float
    side: Interval
    n: int
    exact: Interval

    def as_json(self) -> dict[str, Any]:
        """As it stands in the results."""
        return {
            "quantity": self.quantity, "mean": self.mean, "low": self.side.low, "high": self.side.high,
            "exact": {"low": self.exact.low, "high": self.exact.high}, "n": self.n,
        }  # fmt: skip

    @classmethod
    def average(cls, quantity: str, values: Tensor, alpha: float, exact: Interval) -> Self:
        """Of independent numbers, with Student's interval."""
        values = values.double().flatten()
        return cls(quantity, float(values.mean()), student(values, alpha=alpha), len(values), exact)

    @classmethod
    def share(cls, quantity: str, hits: Tensor, alpha: float, exact: Interval) -> Self:
        """Of yes and no, with Clopper and Pearson's interval."""
        k, n = int(hits.sum()), hits.numel()
        return cls(quantity, k / n, clopper_pearson(k, n, alpha=alpha), n, exact)
