"""What a benchmark is asked: data sets, methods, seeds, and what every method may try."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mmtheory.errors import ArgumentError
from mmtheory.experiment import Sweep, code_version

from .recipe import Recipe
from .tuning import Tuned, checked, tries

EXPERIMENT = "bench"
ALWAYS = ("joint", "unimodal")
"""References that every table has: what a method is compared with, and what its encoders could do alone."""
BLOCK = 8
"""Seeds of one cell: what a kill can cost."""


@dataclass(frozen=True)
class Question:
    """What a benchmark answers.

    :param methods: names, settings behind colons; joint and unimodal are always trained too.
    :param lrs: learning rates that every method may try, for every seed; the one that is best on validation counts.
    :param tune: method → strength → values that it may try besides; the others may try more learning rates instead, see ``tries``.
    :param recipe: everything else, the same for every method.
    :param splits: data set → split; none means its first.
    """

    datasets: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: int
    lrs: tuple[float, ...] = (5e-4, 2e-3, 8e-3)
    recipe: Recipe = field(default_factory=Recipe)
    splits: Mapping[str, str] = field(default_factory=dict[str, str])
    tune: Tuned = field(default_factory=dict[str, dict[str, tuple[float, ...]]])
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.seeds < 1 or not self.datasets or not self.lrs or not all(0 < lr < math.inf for lr in self.lrs):
            raise ArgumentError(
                f"bench: expected data sets, --seeds >= 1 and learning rates > 0, found {', '.join(self.datasets) or 'none'}, {self.seeds}, {self.lrs}"
            )
        for method in self.trained:
            self.recipe.of(method)
        checked(self.tune, self.trained)
        for method in self.trained:
            self.tries(method)

    @property
    def trained(self) -> tuple[str, ...]:
        """The methods with the references in front, each once."""
        return tuple(dict.fromkeys((*ALWAYS, *self.methods)))

    def tries(self, method: str) -> list[dict[str, float]]:
        """The settings that it may try."""
        return tries(method, self.lrs, self.tune)

    def as_json(self) -> dict[str, Any]:
        """Itself as JSON."""
        return json.loads(json.dumps(asdict(self)))

    def sweep(self) -> Sweep:
        """One cell a data set, method and block of seeds."""
        blocks = [list(range(i, min(i + BLOCK, self.seeds))) for i in range(0, self.seeds, BLOCK)]
        shared = {k: v for k, v in self.as_json().items() if k not in {"datasets", "methods", "seeds"}}
        axes: dict[str, Sequence[Any]] = {
            "dataset": self.datasets,
            "method": self.trained,
            "seeds": blocks,
            "settings": [shared],
        }
        return Sweep(EXPERIMENT, axes, code_version())
