"""What every linear-Gaussian world answers, whatever its dials are called."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from mmtheory.bounds import Scatter
from mmtheory.errors import ArgumentError, NotExactError
from mmtheory.info import Decomposition
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from mmtheory.world import Task

from ._gaussian_learners import GaussianLaw
from ._missing import Answer as Answer
from ._missing import Incomplete


class LinearGaussian(Incomplete):
    """A world whose law is a :class:`GaussianLaw`; learners' exact risks are methods of ``world.law``."""

    task: ClassVar[Task] = "regression"

    @cached_property
    @abstractmethod
    def law(self) -> GaussianLaw:
        """Loadings, noise and target, with everything that conditioning says about them."""

    def exact_complete(self) -> Mapping[tuple[str, str], Answer]:
        known: dict[tuple[str, str], Answer] = {
            ("bayes_risk", "precision"): partial(self.law.risk, route="precision"),
            ("bayes_risk", "schur"): partial(self.law.risk, route="schur"),
            ("information", "variance ratio"): partial(self.law.information, route="variance ratio"),
            ("information", "canonical"): partial(self.law.information, route="canonical"),
        }
        if len(self.modalities) == 2:
            known |= blackwell(self.modalities, self.law.decomposition, self.law.information)
        return known

    def scatter(
        self, n: int, *, stream: Stream, replicates: range | None = None, count: Sequence[int] = (), device: str = "cpu"
    ) -> Scatter:
        """Sums of squares and products of n samples, all coordinates in their order (``world.law.columns`` names a subset's), undrawn.

        The law is that of ``sample``'s, at d² numbers a replicate; the numbers are others.

        :param replicates: stacked on a leading axis, row r being what ``stream.child(r)`` alone would give; None for one.
        :param count: further replicates from each stream.
        :raises NotExactError: n <= d, or modalities that may be missing.
        """
        if not self.complete:
            raise NotExactError(
                f"{self.name}: expected missingness 0 (the scatter is not Wishart otherwise), found {self.missingness}"
            )
        return Scatter.drawn(self.law.joint, n, stream.draws(replicates, device=device), count=count)

    def belief(self, x: Mapping[str, Tensor]) -> Tensor:
        parts = [x[m] for m in self.modalities if m in x]
        return torch.cat(parts, -1) @ self.law.coefficients(x).to(parts[0].device)


def blackwell(
    modalities: tuple[str, ...],
    decompose: Callable[[frozenset[str], frozenset[str]], Decomposition],
    information: Callable[[frozenset[str]], Interval],
) -> dict[tuple[str, str], Answer]:
    """The PID quantities of a two-modality world in which one modality is a garbling of the other."""
    both = frozenset(modalities)

    def atom(given: frozenset[str], *, quantity: str) -> Interval:
        wanted = 1 if quantity == "unique" else 2
        if len(given) != wanted:
            raise ArgumentError(
                f"{quantity}: expected {wanted} of the two modalities, found {', '.join(sorted(given)) or 'none'}"
            )
        one = given if quantity == "unique" else frozenset(modalities[:1])
        parts = decompose(one, both - one)
        value = {"redundancy": parts.redundancy, "unique": parts.unique_first, "synergy": parts.synergy}[quantity]
        slack = sum(information(s).width for s in (frozenset(modalities[:1]), frozenset(modalities[1:]), both))
        return Interval(max(0.0, float(value) - slack), float(value) + slack)

    return {(q, "blackwell"): partial(atom, quantity=q) for q in ("redundancy", "unique", "synergy")}
