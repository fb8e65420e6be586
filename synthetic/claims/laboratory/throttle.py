"""P3: throttling trades, adding a loss does not."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

THROTTLE = prediction(
    "P3",
    "At speed 2 OGM raises the weak encoder and lowers the strong one by 3 points or more; uniform multi-loss lowers neither.",
    points=({"speed": 2.0},),
    runs={run: method(run) for run in ("joint", "ogm", "uniform")} | {"ogm at rest": method("ogm", alpha=0.0)},
    contrasts={
        "ogm, weak": (gain("ogm", "probe a"), 0.0),
        "ogm, strong": (gain("joint", "probe b", over="ogm"), 0.03),
        "uniform, weak": (gain("uniform", "probe a"), 0.0),
        "uniform, strong": (gain("uniform", "probe b"), -0.02),
    },
    wrong={
        "OGM at alpha 0 lowers it": ("ogm, strong", (gain("joint", "probe b", over="ogm at rest"), 0.03)),
        "uniform lowers it": ("uniform, strong", (gain("joint", "probe b", over="uniform"), 0.03)),
    },
)
