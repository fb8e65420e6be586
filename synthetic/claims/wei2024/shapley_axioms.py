"""C8.2: the values by enumeration satisfy the axioms, on random games."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.info import shapley, subsets
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from mmtheory.world import World
from synthetic.worlds import Table

Game = Mapping[frozenset[str], Tensor]
CASES = ("efficiency", "symmetry", "null player", "linearity", "orders of arrival")
_MOST_ORDERS = 5


@final
@dataclass(frozen=True)
class ShapleyAxioms(Claim[World]):
    r"""On random games between the world's modalities the enumerated values are efficient, symmetric, linear, and give nothing to nobody.

    .. math:: \sum_m \phi_m = v([M]) - v(\emptyset)

    The left sides are the largest deviations over all games; the right side is 0. The mean over orders of arrival is compared for games of at
    most five players.

    :param value: ``banzhaf`` weighs every coalition alike and ``raw`` forgets the empty set's worth (controls).
    """

    value: Literal["shapley", "banzhaf", "raw"] = "shapley"

    def analytic(self, world: World) -> Sides:
        return {case: Interval.exact(0.0) for case in CASES}

    def empirical(self, world: World, trial: Trial) -> Sides:
        players = world.modalities
        one, two = (_game(players, trial.n, trial.stream.child(name)) for name in ("one", "two"))
        both = {s: 2 * one[s] - 3 * two[s] for s in one}
        values, other, mixed = self._value(one, players), self._value(two, players), self._value(both, players)
        first, second = players[0], players[-1]
        # Exchanging two players of a game made symmetric in them changes nothing; a player that adds nothing gets nothing.
        turned = {s: (one[s] + one[_exchanged(s, first, second)]) / 2 for s in one}
        idle = {s: one[s - {first}] for s in one}
        even, none = self._value(turned, players), self._value(idle, players)
        total = torch.stack([values[p] for p in players]).sum(0)
        worst = {
            "efficiency": total - (one[frozenset(players)] - one[frozenset()]),
            "symmetry": even[first] - even[second],
            "null player": none[first],
            "linearity": torch.stack([mixed[p] - 2 * values[p] + 3 * other[p] for p in players]),
            "orders of arrival": self._orders(one, players, values),
        }
        return {case: Interval.exact(float(gap.abs().max()), 1e-13) for case, gap in worst.items()}

    def _value(self, game: Game, players: Sequence[str]) -> dict[str, Tensor]:
        """The value under trial."""
        if self.value == "banzhaf":
            rest = {p: [s for s in game if p not in s] for p in players}
            return {p: torch.stack([game[s | {p}] - game[s] for s in rest[p]]).mean(0) for p in players}
        if self.value == "raw":
            return shapley({**game, frozenset(): 0 * game[frozenset()]}, players)
        return shapley(game, players)

    def _orders(self, game: Game, players: Sequence[str], values: dict[str, Tensor]) -> Tensor:
        """Values minus the mean of marginal contributions over every order."""
        few = list(players[:_MOST_ORDERS])
        part = {s: v for s, v in game.items() if s <= set(few)}
        found = values if len(few) == len(players) else self._value(part, few)
        orders = list(itertools.permutations(few))
        total = {p: torch.zeros_like(found[p]) for p in few}
        for order in orders:
            for k, p in enumerate(order):
                total[p] = total[p] + part[frozenset(order[: k + 1])] - part[frozenset(order[:k])]
        return torch.stack([found[p] - total[p] / len(orders) for p in few])

    def controls(self) -> tuple[Control, ...]:
        return (
            Control("every coalition weighs alike", replace(self, value="banzhaf"), self.world),
            Control("the empty set forgotten", replace(self, value="raw"), self.world),
        )


def _game(players: Sequence[str], n: int, stream: Stream) -> dict[frozenset[str], Tensor]:
    """n random games, the worth of every subset uniform."""
    coalitions = [frozenset[str](), *subsets(players)]
    worth = stream.draws().uniform("worth", n, len(coalitions))
    return {s: worth[:, k] for k, s in enumerate(coalitions)}


def _exchanged(coalition: frozenset[str], one: str, two: str) -> frozenset[str]:
    """The coalition with the two players' places exchanged."""
    return frozenset({one: two, two: one}.get(p, p) for p in coalition)


SHAPLEY_AXIOMS: Claim[Any] = ShapleyAxioms(
    id="C8.2",
    source=Source("wei2024", "Shapley's axioms, by enumeration of every subset", "known"),
    statement="The values by enumeration are efficient, symmetric, linear and zero for null players.",
    world=Table("xor", count=6),
    budgets={"small": Budget(50, 50), "full": Budget(2000, 2000)},
    margin=1e-10,
    unit="games",
)
