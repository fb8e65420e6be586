"""P10: the discrepancy ratio decays where a modality is slow and stays where it knows less; in three worlds."""

from __future__ import annotations

from dataclasses import replace

from synthetic.worlds import GaussianDiscriminant, GaussianProbit

from ._contrasts import Contrast, Term, method, prediction

JOINT = method("joint")


def kept(more: int, less: int, run: str = "joint") -> Contrast:
    """The share of its largest lead that b keeps, at one point minus at the other."""
    return (Term(1.0, run, "kept", more), Term(-1.0, run, "kept", less))


RATIO_DECAY = prediction(
    "P10",
    "Under joint training the discrepancy ratio falls back from its largest value by a twentieth more under the speed dial than under the "
    "information dial.",
    first=64,
    points=({"speed": 2.0}, {"information": 2.0}),
    runs={"joint": JOINT},
    contrasts={"decay": (kept(1, 0), 0.05)},
    wrong={"the other way round": ("decay", (kept(0, 1), 0.1))},
    epochs=20,
)

RATIO_DECAY_PROBIT = prediction(
    "P10-W2",
    "The sign of a Gaussian score: the ratio falls back by a tenth more where one modality is 8 times as quiet than where its signal-to-noise "
    "ratio is 0.3 and not 4.",
    world=GaussianProbit(snr=(4.0, 4.0), dims=(8, 8)),
    points=({"scale": 0.125}, {"snr": 0.3}),
    runs={"joint": replace(JOINT, rate=0.06), "short": replace(JOINT, rate=0.002)},
    contrasts={"decay": (kept(1, 0), 0.1)},
    wrong={"in a run too short for the quiet modality": ("decay", (kept(1, 0, "short"), 0.05))},
    epochs=20,
)

RATIO_DECAY_DISCRIMINANT = prediction(
    "P10-W3",
    "Two Gaussian classes: the ratio falls back by a tenth more where one modality is 4 times as quiet than where its squared separation is "
    "1 and not 4, at a learning rate at which the quiet modality is learnt within the run.",
    world=GaussianDiscriminant(d2=(4.0, 4.0), dims=(8, 8)),
    points=({"scale": 0.25}, {"d2": 1.0}),
    runs={"joint": replace(JOINT, rate=0.2), "short": replace(JOINT, rate=0.002)},
    contrasts={"decay": (kept(1, 0), 0.1)},
    wrong={"in a run too short for the quiet modality": ("decay", (kept(1, 0, "short"), 0.05))},
    epochs=20,
)
