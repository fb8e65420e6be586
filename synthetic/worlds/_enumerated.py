"""What every world that is a table of symbols answers, by enumeration of its cells."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.info import bayes_error, conditional_entropy, entropy, information, pid
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import Task, World

Answer = Callable[[frozenset[str]], Interval]
_ROUNDING = 1e-12
MOST_CELLS = 20_000_000


class Enumerated(World):
    """A world given by the table p(x_1, …, x_M, y); inputs are integer symbols [*batch_shape, n]."""

    task: ClassVar[Task] = "classification"

    @cached_property
    @abstractmethod
    def joint(self) -> Tensor:
        """The table [a_1, …, a_M, K]."""

    def draw(self, n: int, draws: Draws) -> Batch:
        shape, steps = self.joint.shape, self.joint.flatten().cumsum(0).to(draws.device)
        cell = torch.searchsorted(steps, draws.uniform("cell", n) * steps[-1], right=True)
        symbols = torch.unravel_index(cell.clamp(max=steps.numel() - 1), shape)
        return Batch(dict(zip(self.modalities, symbols[:-1], strict=True)), symbols[-1])

    def marginal(self, given: frozenset[str]) -> Tensor:
        """p(x_S, y) as [cells of S, K]."""
        away = [i for i, m in enumerate(self.modalities) if m not in given]
        kept = self.joint.sum(away) if away else self.joint
        return kept.reshape(-1, self.joint.shape[-1])

    def exact(self) -> Mapping[tuple[str, str], Answer]:
        known: dict[tuple[str, str], Answer] = {
            ("bayes_risk", "enumeration"): partial(self.functional, of=bayes_error),
            ("information", "enumeration"): partial(self.functional, of=information),
            ("information", "chain rule"): partial(
                self.functional, of=lambda p: entropy(p.sum(0)) - conditional_entropy(p)
            ),
            ("label_entropy", "enumeration"): partial(self.functional, of=lambda p: entropy(p.sum(0))),
            ("posterior_entropy", "enumeration"): partial(self.functional, of=conditional_entropy),
        }
        if len(self.modalities) == 2:
            known |= {(q, "cone"): partial(self._atom, quantity=q) for q in ("redundancy", "unique", "synergy")}
        return known

    def functional(self, given: frozenset[str], *, of: Callable[[Tensor], Tensor]) -> Interval:
        """A functional of the table p(x_S, y)."""
        return Interval.exact(float(of(self.marginal(given))), _ROUNDING)

    def _atom(self, given: frozenset[str], *, quantity: str) -> Interval:
        """One part of the decomposition, with the solver's certificate.

        :raises ArgumentError: not one modality for ``unique``, or not both for the others.
        """
        if len(given) != (1 if quantity == "unique" else 2):
            raise ArgumentError(
                f"{quantity}: expected {'one' if quantity == 'unique' else 'both'}, found {sorted(given)}"
            )
        parts = pid(self.joint)
        unique = parts.unique_first if self.modalities[0] in given else parts.unique_second
        value = {"redundancy": parts.redundancy, "unique": unique, "synergy": parts.synergy}[quantity]
        return Interval.exact(float(value), float(parts.gap) + _ROUNDING)
