"""C8.4: modalities equal over the data set can differ in every sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial
from mmtheory.stats import student
from synthetic.worlds import Gated
from synthetic.worlds.gated import Game


@final
@dataclass(frozen=True)
class SampleLevel(Claim[Gated]):
    r"""Wei et al.'s sample-level values in the gated world of two equal modalities: equal means, positive variance of the difference.

    .. math:: v(C) = |C|\,1[\text{Bayes from } C \text{ is right}], \qquad
        \phi_a = \tfrac12\,(v(a) + v(ab) - v(b)), \qquad \phi_a - \phi_b = 1[a] - 1[b]

    The analytic side enumerates the world's cells; the empirical side votes on samples, reliable modality by reliable modality, and plays
    the two-player game by hand. ``game`` is what the analytic side plays, ``flat`` makes it deny any variance.
    """

    game: Game = "count-correct"
    flat: bool = False

    def broken_assumptions(self, world: Gated) -> tuple[str, ...]:
        alike = len(set(world.reliability)) == 1 and len(set(world.flips)) == 1 and len(world.modalities) == 2
        return () if alike and not world.patterns else (f"two equal modalities, always there, found {world.label()}",)

    def analytic(self, world: Gated) -> Sides:
        moments = world.shapley_moments(game=self.game)
        first, spread = moments["mean a"], 0.0 if self.flat else 1.0
        return {
            "mean a": first,
            "mean b": first,
            "variance a": moments["variance a"] * spread,
            "variance a-b": moments["variance a-b"] * spread,
        }

    def empirical(self, world: Gated, trial: Trial) -> Sides:
        batch = world.sample(trial.n, stream=trial.stream.child("sample", trial.n), device=trial.device)
        votes = torch.stack([torch.where(x >= 2, 2.0 * (x % 2) - 1, 0.0) for x in batch.x.values()])
        for_truth = votes * (2.0 * batch.y - 1)
        alone = (for_truth.sign() + 1) / 2
        both = (for_truth.sum(0).sign() + 1) / 2
        value = [(alone[i] + 2 * both - alone[1 - i]) / 2 for i in (0, 1)]
        alpha = trial.alpha / 4
        centred = [v - v.mean() for v in (value[0], value[0] - value[1])]
        # The mean inside the square costs 1/n of the variance, put back here.
        spread = [student(c**2 * (trial.n / (trial.n - 1)), alpha=alpha) for c in centred]
        return {
            "mean a": student(value[0], alpha=alpha),
            "mean b": student(value[1], alpha=alpha),
            "variance a": spread[0],
            "variance a-b": spread[1],
        }

    def controls(self) -> tuple[Control, ...]:
        other = replace(
            self, id=f"{self.id}!correct", statement=f"control (another game): {self.statement}", game="correct"
        )
        flat = replace(self, id=f"{self.id}!flat", statement=f"control (no variance): {self.statement}", flat=True)
        return (
            Control("the game of 1[correct], without |C|", other, self.world),
            Control("one value for every sample", flat, self.world),
        )


SAMPLE_LEVEL: Claim[Any] = SampleLevel(
    id="C8.4",
    source=Source("wei2024", "sample-level valuation", "code"),
    statement="With equal data-set values the sample-level values of two modalities still differ, by a variance that the gates fix.",
    world=Gated(),
    budgets={"small": Budget(50_000, 200_000), "full": Budget(200_000, 800_000)},
    margin=0.015,
)
