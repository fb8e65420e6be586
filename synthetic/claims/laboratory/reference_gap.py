"""P11: the gap to unimodal training tells a speed gap from an information gap."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

REFERENCE_GAP = prediction(
    "P11",
    "Unimodal training lifts the weak encoder over joint training by 2 points or more under the speed dial, by less than 3 under the "
    "information dial.",
    first=48,
    points=({"speed": 2.0}, {"information": 2.0}),
    runs={run: method(run) for run in ("joint", "unimodal")},
    contrasts={
        "speed": (gain("unimodal", "probe a", 0), 0.02),
        "information": (gain("joint", "probe a", 1, over="unimodal"), -0.03),
    },
    wrong={"under the information dial too": ("speed", (gain("unimodal", "probe a", 1), 0.02))},
)
