"""P9: where the weak modality has nothing to gain, throttling only costs."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

INFORMATION_COST = prediction(
    "P9",
    "Under the information dial OGM costs accuracy and leaves the weak encoder where it was, within 2 points.",
    points=({"information": 2.0},),
    runs={"joint": method("joint"), "ogm": method("ogm"), "ogm at rest": method("ogm", alpha=0.0)},
    contrasts={
        "cost": (gain("joint", "accuracy", over="ogm"), 0.005),
        "weak": (gain("ogm", "probe a"), -0.02),
        "weak, upwards": (gain("joint", "probe a", over="ogm"), -0.02),
    },
    wrong={"OGM at alpha 0 costs": ("cost", (gain("joint", "accuracy", over="ogm at rest"), 0.005))},
)
