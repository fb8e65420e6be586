"""Descents on test problems from random starts, as the rates need them; nothing here asks a world for answers.

All of it stays on the host: a few thousand numbers a step are no work for an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from mmtheory.claims import Budget, Trial
from mmtheory.moo import WEIGHTINGS
from mmtheory.moo.problems import PROBLEMS, Path, Problem, SmoothDTLZ2, descend
from mmtheory.stats import Interval
from synthetic.worlds import Quad

EXACT = {"small": Budget(32, 32), "full": Budget(320, 320)}
LIVE = 1e-6
"""Below this fraction of its start a squared length is rounding: such steps say nothing."""


def runs(world: Quad, trial: Trial, kinds: Iterable[str]) -> Iterator[tuple[str, Problem, Tensor]]:
    """Problems by name (``world`` is the world's own objectives) with ``trial.n`` starts, and ``trial.n`` random problems where there is a choice."""
    for kind in kinds:
        draws = trial.stream.child("problem", kind).draws(range(trial.n))
        problem = world.problem if kind == "world" else PROBLEMS[kind].drawn(draws)
        reach = 0.8 if kind in {"vlmop2", "smooth-dtlz2"} else 2.0
        start = reach * trial.stream.child("start", kind).draws(range(trial.n)).normal("x", problem.dim)  # fmt: skip
        if isinstance(problem, SmoothDTLZ2):
            start = start.clamp(-1, 1)
        yield kind, problem, start


def walked(problem: Problem, weighting: str | Callable[[Tensor], Tensor], start: Tensor, step: float, steps: int) -> Path:  # fmt: skip
    """Steps of ``step``/L along a weighting's direction."""
    weigh = WEIGHTINGS[weighting]().solve if isinstance(weighting, str) else weighting
    return descend(problem, weigh, start, step / problem.smoothness, steps)


def least(ratio: Tensor, live: Tensor) -> Interval:
    """The smallest ratio among those that mean something, as an exact number; infinite where none does."""
    return Interval.exact(float(torch.where(live, ratio, torch.inf).amin()))


def most(ratio: Tensor, live: Tensor) -> Interval:
    """The largest one."""
    return Interval.exact(float(torch.where(live, ratio, -torch.inf).amax()))


def alive(squared: Tensor) -> Tensor:
    """Steps whose squared direction is far above rounding."""
    return squared > LIVE * squared[:1].clamp(min=1e-2)


def frank_wolfe(rounds: int) -> Callable[[Tensor], Tensor]:
    """Min-norm weights by so many rounds of Frank–Wolfe with exact line search, from uniform weights: inexact for three or more."""

    def weigh(G: Tensor) -> Tensor:
        w = torch.full(G.shape[:-1], 1 / G.shape[-1], dtype=G.dtype, device=G.device)
        for _ in range(rounds):
            slopes = (G @ w[..., None])[..., 0]
            best = slopes.argmin(-1, keepdim=True)
            vertex = torch.zeros_like(w).scatter(-1, best, 1.0)
            across, own = slopes.gather(-1, best)[..., 0], (w * slopes).sum(-1)
            corner = (vertex * (G @ vertex[..., None])[..., 0]).sum(-1)
            bend = own + corner - 2 * across
            move = torch.where(bend > 0, (own - across) / torch.where(bend > 0, bend, 1.0), 0.0).clamp(0, 1)
            w = w + move[..., None] * (vertex - w)
        return w

    return weigh
