"""P13 to P15: what is left of the methods under Adam."""

from __future__ import annotations

from ._contrasts import adam, gain, method, prediction

POINT = ({"speed": 2.0},)

ADAM_THROTTLE = prediction(
    "P13",
    "Under Adam OGM takes less than half from the strong encoder of what it takes under SGD.",
    points=POINT,
    runs={
        "joint": method("joint"),
        "ogm": method("ogm"),
        "joint, adam": adam(method("joint")),
        "ogm, adam": adam(method("ogm")),
    },
    contrasts={
        "half": (
            (*gain("joint", "probe b", over="ogm", weight=0.5), *gain("ogm, adam", "probe b", over="joint, adam")),
            0.0,
        )
    },
    wrong={"none of it": ("half", (gain("ogm, adam", "probe b", over="joint, adam"), 0.0))},
)

ADAM_NOISE = prediction(
    "P14",
    "Under Adam the noise of OGM-GE costs 5 points of accuracy or more; OGM without it less than 5.",
    points=POINT,
    runs={name: adam(method(name)) for name in ("joint", "ogm", "ogm-ge")},
    contrasts={
        "with noise": (gain("joint", "accuracy", over="ogm-ge"), 0.05),
        "without": (gain("ogm", "accuracy"), -0.05),
    },
    wrong={"OGM alone costs as much": ("with noise", (gain("joint", "accuracy", over="ogm"), 0.05))},
)

ADAM_LOSS_TERMS = prediction(
    "P15",
    "PMR, which adds a loss, lifts the slow modality's encoder by 3 points or more under Adam as under SGD.",
    points=POINT,
    runs={
        "joint": method("joint"),
        "pmr": method("pmr"),
        "joint, adam": adam(method("joint")),
        "pmr, adam": adam(method("pmr")),
        "ogm, adam": adam(method("ogm")),
    },
    contrasts={
        "sgd": (gain("pmr", "probe a"), 0.03),
        "adam": (gain("pmr, adam", "probe a", over="joint, adam"), 0.03),
    },
    wrong={"OGM does so under Adam": ("adam", (gain("ogm, adam", "probe a", over="joint, adam"), 0.03))},
)
