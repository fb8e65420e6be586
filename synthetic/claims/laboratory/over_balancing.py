"""P12: more balance is not better."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

OVER_BALANCING = prediction(
    "P12",
    "From alpha = 0.1 to 2 OGM lifts the slow modality's encoder and costs 3 points of accuracy or more under either dial.",
    first=64,
    points=({"speed": 2.0}, {"information": 2.0}),
    runs={"alpha 0.1": method("ogm", alpha=0.1), "alpha 2": method("ogm", alpha=2.0)},
    contrasts={
        "weak encoder, speed": (gain("alpha 2", "probe a", 0, over="alpha 0.1"), 0.0),
        "accuracy, speed": (gain("alpha 0.1", "accuracy", 0, over="alpha 2"), 0.03),
        "accuracy, information": (gain("alpha 0.1", "accuracy", 1, over="alpha 2"), 0.03),
    },
    wrong={"more balance, more accuracy": ("accuracy, speed", (gain("alpha 2", "accuracy", 0, over="alpha 0.1"), 0.0))},
)
