"""P4: uniform multi-loss is the baseline to beat."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

BALANCERS = ("ogm", "pmr")

UNIFORM_BASELINE = prediction(
    "P4",
    "At rest and at speed 2 uniform multi-loss leaves the weak encoder at least where OGM and PMR do, give or take 3 points.",
    first=48,
    points=({"speed": 0.0}, {"speed": 2.0}),
    runs={run: method(run) for run in ("joint", "uniform", *BALANCERS)},
    contrasts={
        f"{run}, speed {2 * k}": (gain("uniform", "probe a", k, over=run), -0.03) for run in BALANCERS for k in (0, 1)
    },
    wrong={"so does joint training": ("joint", (gain("joint", "probe a", 1, over="pmr"), -0.03))},
)
