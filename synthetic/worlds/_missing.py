"""Modalities that may be missing completely at random: one mechanism for every world that has the dial."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.rng import Draws
from mmtheory.stats import Interval
from mmtheory.world import World

Answer = Callable[[frozenset[str]], Interval]
Rates = float | tuple[float, ...]

PID = ("redundancy", "unique", "synergy")
EPS = torch.finfo(torch.float64).eps


class Incomplete(World):
    r"""A world whose modalities may be missing, whatever else happens; who is there is seen.

    .. math:: q(S) = \sum_{A} P(A)\, q_{\text{complete}}(S \cap A)

    for information, risks and entropies: the pattern says nothing about the label, and given the pattern the law is that of the
    complete data. Methods that a world has beside ``known`` speak of complete data unless they say otherwise. A sample shows zero
    where a modality is absent, and ``present`` says so.

    Source: derived here (missing completely at random).
    """

    missingness: Rates

    @abstractmethod
    def draw_complete(self, n: int, draws: Draws) -> Batch:
        """``draw`` with everything present."""

    @abstractmethod
    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        """``exact`` with everything present."""

    @cached_property
    def rates(self) -> tuple[float, ...]:
        """Probability that each modality is missing.

        :raises ArgumentError: not one number or one a modality, each in [0, 1].
        """
        count = len(self.modalities)
        given = self.missingness if isinstance(self.missingness, tuple) else (self.missingness,)
        if len(given) not in {1, count} or not all(0 <= rate <= 1 for rate in given):
            raise ArgumentError(
                f"{self.name}: expected missingness in [0, 1], one number or one for each of the {count} modalities, "
                f"found {self.missingness}"
            )
        return given if len(given) == count else given * count

    @cached_property
    def availability(self) -> Mapping[frozenset[str], float]:
        """The law of the set of modalities that are there; sets of probability 0 are left out."""
        return thinned({frozenset(self.modalities): 1.0}, dict(zip(self.modalities, self.rates, strict=True)))

    @property
    def complete(self) -> bool:
        """Whether nothing is ever missing."""
        return set(self.availability) == {frozenset(self.modalities)}

    def draw(self, n: int, draws: Draws) -> Batch:
        whole = self.draw_complete(n, draws)
        if self.complete:
            return whole
        steps = torch.tensor(list(self.availability.values()), dtype=torch.float64, device=draws.device).cumsum(0)
        which = torch.searchsorted(steps, draws.uniform("pattern", n) * steps[-1], right=True)
        present = {m: torch.tensor([m in a for a in self.availability], device=draws.device)[which] for m in whole.x}
        x = {m: torch.where(present[m].reshape(*which.shape, *(1,) * (v.dim() - which.dim())), v, 0) for m, v in whole.x.items()}  # fmt: skip
        return replace(whole, x=x, present=present)

    def exact(self) -> Mapping[tuple[str, str], Answer]:
        known = self.exact_complete()
        if self.complete:
            return known
        mixed = {key: partial(self._mixed, answer=answer) for key, answer in known.items() if key[0] not in PID}
        return {**mixed, **self.exact_erased(known)}

    def exact_erased(self, known: Mapping[tuple[str, str], Answer]) -> Mapping[tuple[str, str], Answer]:
        """What else is exact when modalities may be missing; here the decomposition where one erased modality garbles the other.

        :param known: the answers for complete data.
        """
        information = next((answer for (q, _), answer in known.items() if q == "information"), None)
        if information is None or not any(q == "redundancy" for q, _ in known):
            return {}
        return {(q, "degraded erasure"): partial(self._atom, quantity=q, information=information) for q in PID}

    def _mixed(self, given: frozenset[str], *, answer: Answer) -> Interval:
        """Σ P(A) answer(S ∩ A)."""
        seen: dict[frozenset[str], float] = {}
        for there, chance in self.availability.items():
            seen[given & there] = seen.get(given & there, 0.0) + chance
        parts = [answer(left) * chance for left, chance in seen.items()]
        total = sum(parts, Interval.exact(0.0))
        size = max(abs(total.low), abs(total.high))
        if not math.isfinite(size):
            return total
        # Every quantity mixed here is nonnegative: rounding may not take its lower end below zero, unless it was there before.
        rounded = total + Interval.exact(0.0, 4 * EPS * len(self.availability) * size)
        return rounded.clipped(min(0.0, total.low), math.inf)

    def _atom(self, given: frozenset[str], *, quantity: str, information: Answer) -> Interval:
        """The modality that knows less must also be there less often: only then is it, erased, still a garbling of the other.

        :raises NotExactError: the modality that knows less is there more often, so that neither garbles the other.
        :raises ArgumentError: not one modality for ``unique``, or not both for the others.
        """
        if len(given) != (1 if quantity == "unique" else 2):
            raise ArgumentError(
                f"{quantity}: expected {1 if quantity == 'unique' else 2} modalities, found {len(given)}"
            )
        alone = {m: information(frozenset({m})) for m in self.modalities}
        there = {m: sum(c for a, c in self.availability.items() if m in a) for m in self.modalities}
        orders = [
            (weak, strong)
            for weak, strong in (self.modalities, self.modalities[::-1])
            if there[weak] <= 0
            or alone[weak].high <= 1e-12
            or (alone[weak].middle <= alone[strong].middle and there[weak] <= there[strong])
        ]
        if not orders:
            raise NotExactError(
                f"{self.name}: expected a decomposition's weaker modality to be missing at least as often as the stronger, "
                f"found missingness {self.missingness}"
            )
        weak, strong = orders[0]
        poor, rich = alone[weak] * there[weak], alone[strong] * there[strong]
        if quantity == "redundancy":
            return poor
        whole = self._mixed(frozenset(self.modalities), answer=information)
        found = {"synergy": whole - rich, "unique": rich - poor if strong in given else Interval.exact(0.0)}[quantity]
        return found.clipped(0.0, math.inf)

    @abstractmethod
    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        """The Bayes answer to what these modalities show, all of them present: class probabilities, or E[y|x] in regression.

        Shape: x[m] [*batch_shape, n, d_m] or symbols [*batch_shape, n]; at least one modality -> [*batch_shape, n, K] or
        [*batch_shape, n].
        """

    def prior(self) -> Tensor:
        """The Bayes answer to nothing at all: class frequencies [K], or E[y] = 0 in regression []."""
        return torch.zeros((), dtype=torch.float64)

    def belief_present(self, batch: Batch) -> Tensor:
        """The Bayes answer to every sample from the modalities that are there: what is absent is never looked at.

        Under this mechanism the posterior given a pattern and what it shows is that of complete data given those modalities alone.

        Shape: -> [*batch_shape, n, K] (classification) or [*batch_shape, n] (regression).
        """
        out = self.prior().to(batch.y.device).expand(*batch.y.shape, *self.prior().shape)
        for there in self.availability:
            x = {m: batch.x[m] for m in self.modalities if m in there and m in batch.x}
            if not x:
                continue
            here = torch.ones_like(batch.y, dtype=torch.bool)
            for m in batch.x:
                seen = batch.present.get(m, torch.ones_like(here))
                here = here & (seen if m in x else ~seen)
            belief = self.belief(x)
            out = torch.where(here.reshape(*here.shape, *(1,) * (belief.dim() - here.dim())), belief, out)
        return out


def thinned(law: Mapping[frozenset[str], float], rates: Mapping[str, float]) -> Mapping[frozenset[str], float]:
    """A law of sets after each modality was dropped from them with its own probability, independently.

    >>> thinned({frozenset("a"): 1.0}, {"a": 0.25})
    {frozenset({'a'}): 0.75, frozenset(): 0.25}
    """
    for m, rate in rates.items():
        if rate:
            split: dict[frozenset[str], float] = {}
            for there, chance in law.items():
                for left, share in ((there, 1 - rate), (there - {m}, rate)) if m in there else ((there, 1.0),):
                    if share:
                        split[left] = split.get(left, 0.0) + chance * share
            law = split
    return {there: chance for there, chance in law.items() if chance > 0}
