"""P8: without conflicts MMPareto is uniform multi-loss whose encoders learn γ times as fast; its heads do not."""

from __future__ import annotations

from dataclasses import replace
from typing import final

from torch import Tensor

from mmtheory.methods import Gradients, Step, Uniform

from ._contrasts import Contrast, Run, gain, method, prediction

GAMMA, RATE = 1.5, 0.02
WITHIN = {"accuracy": 0.01, "probe a": 0.015}


@final
class FastEncoders(Uniform):
    """Uniform multi-loss, every encoder's gradient times γ."""

    def on_gradients(self, step: Step, gradients: Gradients) -> Tensor:
        for modality in step.features:
            gradients.owned("total", modality).mul_(GAMMA)
        return gradients.total()


def within(other: str) -> dict[str, tuple[Contrast, float]]:
    """MMPareto and another run are nowhere further apart than WITHIN, at rest and at speed 2."""
    return {
        f"{metric}, speed {2 * k}, {side}": (gain("mmpareto", metric, k, over=other, weight=sign), -margin)
        for metric, margin in WITHIN.items()
        for k in (0, 1)
        for side, sign in (("upwards", -1.0), ("downwards", 1.0))
    }


ENCODER_RATE = prediction(
    "P8",
    "At rest and at speed 2 MMPareto is uniform multi-loss with 1.5 times the gradient in its encoders: accuracy within 1 point, the slow "
    "encoder within 1.5. It is not uniform multi-loss at 1.5 times the learning rate, which speeds up the heads too.",
    points=({"speed": 0.0}, {"speed": 2.0}),
    runs={
        "mmpareto": method("mmpareto"),
        "fast encoders": Run(FastEncoders),
        "uniform": method("uniform"),
        "uniform, 1.5 times the rate": replace(method("uniform"), rate=GAMMA * RATE),
    },
    contrasts=within("fast encoders"),
    wrong={
        "uniform at 1.5 times the rate": (
            "probe a, speed 2, downwards",
            within("uniform, 1.5 times the rate")["probe a, speed 2, downwards"],
        ),
        "uniform as it is": ("probe a, speed 2, upwards", within("uniform")["probe a, speed 2, upwards"]),
    },
    first=48,
    most=192,
)
