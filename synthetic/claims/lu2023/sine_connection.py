"""C3.4: the sine connection is read off one pair, and learnt digit by digit without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from torch import Tensor

from mmtheory.claims import Budget, Claim, Control, Sides, Source, Trial, misstated
from mmtheory.stats import Interval, student
from synthetic.worlds import ConnectionSine


@final
@dataclass(frozen=True)
class SineSeparation(Claim[ConnectionSine]):
    r"""Empirical risk minimisation over the grid of θ on n labels of a alone, against θ = b/a from one pair.

    .. math:: E\,r_{\text{one modality}} = \tfrac12\Big(1-\frac1K\Big)^n, \qquad r_{\text{both}} = 0 \qquad (\text{no label noise})

    The empirical side knows nothing of digits: it evaluates the sign of sin(1/(θa)) for every θ of the grid, on real samples.
    """

    sizes: tuple[int, ...] = (1, 3, 12)

    def analytic(self, world: ConnectionSine) -> Sides:
        sides = {f"one modality, n={n}": replace(world, n=n).answers()["unimodal risk"] for n in self.sizes}
        return {**sides, "both, one pair": world.answers()["multimodal risk"]}

    def empirical(self, world: ConnectionSine, trial: Trial) -> Sides:
        alpha = trial.alpha / (len(self.sizes) + 1)
        place = 0.5 ** torch.arange(1, world.bits + 1, dtype=torch.float64, device=trial.device)
        truth = _label(torch.tensor([world.theta], dtype=torch.float64, device=trial.device), place)
        grid = world.grid().to(trial.device)
        flip = world.label_noise
        risk = flip + (1 - 2 * flip) * (_label(grid, place) != truth).double().mean(-1)
        sides: dict[str, Interval] = {}
        for n in self.sizes:
            stream = trial.stream.child("n", n)
            batch = world.sample(n * trial.n, stream=stream, device=trial.device)
            wrong = _label(grid, batch.x["a"][:, 0]) != batch.y
            loss = wrong.reshape(len(grid), trial.n, n).double().mean(-1).T
            coin = stream.child("ties").draws(device=trial.device).uniform("coin", trial.n, len(grid))
            chosen = torch.where(loss == loss.amin(-1, keepdim=True), coin, -1.0).argmax(-1)
            sides[f"one modality, n={n}"] = student(risk[chosen], alpha=alpha)
        pair = world.sample(trial.n, stream=trial.stream.child("pair"), device=trial.device)
        found = (pair.x["b"] / pair.x["a"]).reshape(-1)
        wrong = (_label(found, place) != truth).double().mean(-1)
        sides["both, one pair"] = student(flip + (1 - 2 * flip) * wrong, alpha=alpha)
        return sides

    def controls(self) -> tuple[Control, ...]:
        return (
            misstated(self, "one modality learns as fast as both", lambda side: side * 0.0),
            misstated(self, "one modality learns a fifth faster", lambda side: side * 0.8),
        )


def _label(theta: Tensor, a: Tensor) -> Tensor:
    """1[sin(1/(θa)) < 0] for every θ and every a."""
    return torch.sin(1 / (theta[:, None] * a)) < 0


SINE_SEPARATION: Claim[Any] = SineSeparation(
    id="C3.4",
    source=Source("lu2023", "the motivating example, on a dyadic grid of ours", "derived here"),
    statement="Without the connection the risk stays constant until n passes the digits of the grid; with it one pair suffices.",
    world=ConnectionSine(bits=6),
    budgets={"small": Budget(1000, 4000), "full": Budget(4000, 16000)},
    margin=0.03,
    unit="fits",
)
