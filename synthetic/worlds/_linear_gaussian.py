"""What every linear-Gaussian world answers, whatever its dials are called."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import ClassVar

from mmtheory.errors import ArgumentError
from mmtheory.info import Decomposition
from mmtheory.stats import Interval
from mmtheory.world import Task, World

from ._gaussian_learners import GaussianLaw

Answer = Callable[[frozenset[str]], Interval]


class LinearGaussian(World):
    """A world whose law is a :class:`GaussianLaw`; learners' exact risks are methods of ``world.law``."""

    task: ClassVar[Task] = "regression"

    @cached_property
    @abstractmethod
    def law(self) -> GaussianLaw:
        """Loadings, noise and target, with everything that conditioning says about them."""

    def exact(self) -> Mapping[tuple[str, str], Answer]:
        known: dict[tuple[str, str], Answer] = {
            ("bayes_risk", "precision"): partial(self.law.risk, route="precision"),
            ("bayes_risk", "schur"): partial(self.law.risk, route="schur"),
            ("information", "variance ratio"): partial(self.law.information, route="variance ratio"),
            ("information", "canonical"): partial(self.law.information, route="canonical"),
        }
        if len(self.modalities) == 2:
            known |= blackwell(self.modalities, self.law.decomposition, self.law.information)
        return known


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
