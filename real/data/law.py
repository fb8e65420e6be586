"""A data set as a law: random splits of it are independent draws, and no answer is known in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, final

import torch

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from . import htad


@final
@dataclass(frozen=True)
class HtadLaw(World):
    """Windows of HTAD in a random order, without repetition.

    Claims about it are claims about the average over random splits of this data set, given the data: replicates are independent draws
    of that average, although they share windows.

    :param shuffled: a modality whose windows are dealt to the wrong samples, "" for none: its law stays, its information goes.
    """

    name: ClassVar[str] = "htad"
    task: ClassVar[Task] = "classification"

    shuffled: str = ""

    def __post_init__(self) -> None:
        if self.shuffled not in {"", *htad.WIDTHS}:
            raise ArgumentError(
                f"htad: expected shuffled among {', '.join(htad.WIDTHS)} or empty, found {self.shuffled!r}"
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(htad.WIDTHS)

    @cached_property
    def data(self) -> Batch:
        """All windows."""
        return htad.load()

    def draw(self, n: int, draws: Draws) -> Batch:
        if n > self.data.n:
            raise ArgumentError(f"htad: expected at most {self.data.n} samples, found {n}")
        order = draws.fill("order", (self.data.n,), lambda g, s: g.permutation(s[0]))[..., :n]
        wrong = draws.fill("shuffle", (self.data.n,), lambda g, s: g.permutation(s[0]))[..., :n]
        pick = {m: wrong if m == self.shuffled else order for m in self.modalities}
        return Batch(
            {m: torch.as_tensor(self.data.x[m]).to(draws.device)[pick[m]] for m in pick},
            self.data.y.to(draws.device)[order],
        )

    def exact(self) -> Mapping[tuple[str, str], Callable[[frozenset[str]], Interval]]:
        return {}
