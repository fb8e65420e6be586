"""P5: what MLA's projection does to an encoder, it does to one that is trained alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from torch import Tensor

from mmtheory.methods import MLA, Gradients, Phase, Step

from ._contrasts import Contrast, Run, gain, prediction

RATE = 0.06
HEAD = "head:shared"


class Alone(MLA):
    """MLA of modality a by itself: the same head and the same projection, which then knows a's own means alone."""

    def phases(self, epoch: int, index: int) -> Sequence[Phase]:
        return [phase for phase in super().phases(epoch, index) if phase.name == "a"]


@final
class SlowHead(MLA):
    """MLA without the projection, its head's gradient times 0.3."""

    def __init__(self) -> None:
        super().__init__(projection="off")

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        gradients.owned("total", HEAD).mul_(0.3)
        return gradients.total()


RUNS = {
    "with P": Run(MLA, rate=RATE),
    "without": Run(lambda: MLA(projection="off"), rate=RATE),
    "a alone, with P": Run(Alone, rate=RATE),
    "a alone, without": Run(lambda: Alone(projection="off"), rate=RATE),
    "slow head": Run(SlowHead, rate=RATE),
}
SMALL = {f"{name}, rate 0.02": replace(run, rate=0.02) for name, run in RUNS.items()}


def lifted(*, alone: bool = False, weight: float = 1.0, rate: str = "") -> Contrast:
    """What P gains for a's encoder, of two modalities or of a by itself."""
    who = "a alone, " if alone else ""
    return gain(f"{who}with P{rate}", "probe a", over=f"{who}without{rate}", weight=weight)


BEYOND = (*lifted(), *lifted(alone=True, weight=-1.0))
BELOW = (*lifted(weight=-1.0), *lifted(alone=True))

PROJECTION_COST = prediction(
    "P5",
    "At learning rate 0.06 and speed 3 MLA's projection costs the slow encoder 3 points or more; the same projection costs it 1 or more where "
    "it is the only modality, and a head whose gradient is multiplied by 0.3 costs it 2: what is slowed is the head.",
    points=({"speed": 3.0},),
    runs=RUNS,
    contrasts={
        "two modalities": (lifted(weight=-1.0), 0.03),
        "alone": (lifted(alone=True, weight=-1.0), 0.01),
        "slow head": (gain("without", "probe a", over="slow head"), 0.02),
    },
    wrong={
        "it protects the slow encoder": ("two modalities", (lifted(), 0.0)),
        "alone there is nothing to protect": ("alone", (lifted(alone=True), -0.01)),
    },
)

PROJECTION_CONTROL = prediction(
    "P5-control",
    "At learning rate 0.06 and without imbalance MLA's projection lifts an encoder, and lifts one that is trained alone too; what the other "
    "modality adds is less than 1.5 points either way.",
    points=({"speed": 0.0},),
    runs={**RUNS, **SMALL},
    contrasts={
        "two modalities": (lifted(), 0.0),
        "alone": (lifted(alone=True), 0.0),
        "beyond the control": (BEYOND, -0.015),
        "below the control": (BELOW, -0.015),
    },
    wrong={"at any rate": ("two modalities", (lifted(rate=", rate 0.02"), 0.005))},
    first=64,
    most=256,
)
