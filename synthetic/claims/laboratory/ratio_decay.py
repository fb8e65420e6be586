"""P10: the discrepancy ratio decays where a modality is slow and stays where it knows less."""

from __future__ import annotations

from ._contrasts import Contrast, Term, method, prediction


def kept(more: int, less: int) -> Contrast:
    """The share of its largest lead that b keeps, at one point minus at the other."""
    return (Term(1.0, "joint", "kept", more), Term(-1.0, "joint", "kept", less))


RATIO_DECAY = prediction(
    "P10",
    "Under joint training the discrepancy ratio falls back from its largest value by a twentieth more under the speed dial than under the "
    "information dial.",
    first=64,
    points=({"speed": 2.0}, {"information": 2.0}),
    runs={"joint": method("joint")},
    contrasts={"decay": (kept(1, 0), 0.05)},
    wrong={"the other way round": ("decay", (kept(0, 1), 0.1))},
    epochs=20,
)
