"""P6: exactly unbiased AMSS+ loses what AMSS does."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

UNBIASED_AMSS = prediction(
    "P6",
    "At speed 2 AMSS lowers the strong encoder by 2 points or more; exactly unbiased AMSS+ moves neither encoder by more than 3.",
    points=({"speed": 2.0},),
    runs={run: method(run) for run in ("joint", "amss", "amss-plus")},
    contrasts={
        "amss, strong": (gain("joint", "probe b", over="amss"), 0.02),
        "amss-plus, strong": (gain("amss-plus", "probe b"), -0.03),
        "amss-plus, strong, upwards": (gain("joint", "probe b", over="amss-plus"), -0.03),
        "amss-plus, weak": (gain("amss-plus", "probe a"), -0.03),
        "amss-plus, weak, upwards": (gain("joint", "probe a", over="amss-plus"), -0.03),
    },
    wrong={"AMSS moves it as little": ("amss, strong", (gain("amss", "probe b"), -0.03))},
)
