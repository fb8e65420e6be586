"""P7: the journal form of OGM is milder than the first."""

from __future__ import annotations

from ._contrasts import gain, method, prediction

MILDER_FORM = prediction(
    "P7",
    "At equal alpha = 1/2 OGM's journal form takes at least 3 points less from the strong encoder than its first form; its effect on "
    "accuracy without imbalance is below 2 points.",
    points=({"speed": 2.0}, {"speed": 0.0}),
    runs={
        "joint": method("joint"),
        "first": method("ogm"),
        "journal": method("ogm", form="journal"),
        "journal, alpha 1": method("ogm", alpha=1.0, form="journal"),
    },
    contrasts={
        "milder": (gain("journal", "probe b", over="first"), 0.03),
        "safe": (gain("journal", "accuracy", 1), -0.02),
        "safe, upwards": (gain("joint", "accuracy", 1, over="journal"), -0.02),
    },
    wrong={"at alpha 1 too": ("milder", (gain("journal, alpha 1", "probe b", over="first"), 0.03))},
)
