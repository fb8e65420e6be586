"""P2: no method lifts the weak encoder above its unimodal ceiling."""

from __future__ import annotations

from dataclasses import replace

from ._contrasts import gain, method, prediction

METHODS = ("uniform", "pmr")
LONG = {run: replace(method(run), rate=0.1) for run in ("joint", "unimodal", *METHODS)}

CEILING = prediction(
    "P2",
    "Trained long enough, uniform multi-loss and PMR leave the slow modality's encoder where unimodal training does or below, "
    "give or take 3 points.",
    points=({"speed": 2.0},),
    runs=LONG,
    contrasts={run: (gain("unimodal", "probe a", over=run), -0.03) for run in METHODS},
    wrong={"joint reaches it": ("joint", (gain("joint", "probe a", over="unimodal"), -0.02))},
    first=48,
    epochs=15,
)
