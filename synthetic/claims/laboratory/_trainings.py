"""What a claim and its controls train is trained once: a block of seeds, a run and a point at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.methods import Method
from mmtheory.rng import Stream
from synthetic.experiments._ensemble import samples, trained
from synthetic.experiments._inputs import Parts

Values = Mapping[str, Tensor]
"""Metrics [seed] and traces [seed, epoch]."""


def beside(stream: Stream) -> Stream:
    """The claim's own stream, of a control's: controls are confronted with the very runs that the claim is, whatever that decides.

    A claim and its controls are judged each by its own error probability, which holds whether or not they look at the same runs.

    >>> beside(Stream(0, ("P1", "control", "it shrinks"))) == Stream(0, ("P1",))
    True
    """
    return Stream(stream.seed, stream.path[: stream.path.index("control")]) if "control" in stream.path else stream


@final
class Trainings:
    """Trainings of one claim, kept until those of another are asked for.

    Seeds are trained ``block`` at a time whoever asks, so that what is kept changes no bit of what is found.

    :param stream: of the claim; a seed is a child of it.
    :param factors: what all runs share.
    """

    kept: Mapping[str, dict[Hashable, Any]] = {}

    def __init__(self, stream: Stream, factors: Mapping[str, Any], block: int) -> None:
        self.stream, self.factors, self.block = stream, factors, block
        name = f"{stream} {sorted(factors.items())}"
        if name not in Trainings.kept:
            Trainings.kept = {name: {}}
        self.memory = Trainings.kept[name]

    def values(
        self, run: Hashable, how: Mapping[str, Any], make: Callable[[], Method], point: Mapping[str, Any], n: int, *, watch: bool
    ) -> Values:  # fmt: skip
        """Of seeds 0 … n − 1 under one method at one point.

        :param run: by what the training is known again.
        :param how: its learning rate, fusion and optimiser.
        :param watch: take traces too.
        """
        parts: list[Values] = []
        for start in range(0, n, self.block):
            here = {**self.factors, **how, "points": [point], "seeds": list(range(start, min(start + self.block, n)))}
            key = (run, str(point), start, min(start + self.block, n), watch)
            if key not in self.memory:
                found = trained(here, make(), self.stream, drawn=self._drawn(here), watch=watch)
                self.memory[key] = {name: v[0, 0] for name, v in {**found.metrics, **found.traces}.items()}
            parts.append(self.memory[key])
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _drawn(self, here: Mapping[str, Any]) -> Parts:
        """The samples of a block at a point, which all runs share."""
        key = ("samples", str(here["points"]), here["seeds"][0], here["seeds"][-1])
        if key not in self.memory:
            self.memory[key] = samples(here, self.stream)
        return self.memory[key]
