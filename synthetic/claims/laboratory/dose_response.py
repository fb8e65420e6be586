"""P1: the benefit for the slow modality's encoder grows with the speed dial."""

from __future__ import annotations

from ._contrasts import Contrast, gain, method, prediction

SPEED = ({"speed": 0.0}, {"speed": 2.0})
METHODS = ("uniform", "ogm", "pmr")


def dose(run: str, sign: float = 1.0) -> Contrast:
    """How much more a run gains for the weak encoder at the far level than at rest."""
    return (*gain(run, "probe a", 1, weight=sign), *gain(run, "probe a", 0, weight=-sign))


DOSE_RESPONSE = prediction(
    "P1",
    "What uniform multi-loss, OGM and PMR gain for the weak encoder over joint training grows with the speed dial.",
    points=SPEED,
    runs={run: method(run) for run in ("joint", *METHODS)},
    first=48,
    contrasts={run: (dose(run), 0.0) for run in METHODS},
    wrong={
        "it shrinks": ("uniform", (dose("uniform", -1.0), 0.0)),
        "joint training gains over itself": ("joint", (dose("joint"), 0.005)),
    },
)
