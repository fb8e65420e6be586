"""P16: in a world of pure synergy, who rewards single modalities alone stays at chance."""

from __future__ import annotations

from dataclasses import replace

from synthetic.worlds import Table

from ._contrasts import Contrast, Run, Term, method, prediction

NAMES = ("joint", "uniform", "ogm", "mla", "ume")


def trained(name: str, fusion: str) -> Run:
    """At a rate at which joint training under FiLM learns parity."""
    return replace(method(name), rate=0.05, fusion=fusion)


def accuracy(run: str, weight: float = 1.0) -> Contrast:
    """The run's accuracy itself."""
    return (Term(weight, run, "accuracy"),)


ADDITIVE = {f"{name}, additive": trained(name, "concat") for name in NAMES}
FILM = {f"{name}, film": trained(name, "film") for name in ("joint", "uniform", "mla", "ume")}

PURE_SYNERGY = prediction(
    "P16",
    "On the parity of two bits every method with additive logits is below 0.65, and so are MLA and UME under FiLM, where joint training "
    "and uniform multi-loss are above 0.8.",
    world=Table("xor"),
    runs={**ADDITIVE, **FILM},
    contrasts={
        **{run: (accuracy(run, -1.0), -0.65) for run in (*ADDITIVE, "mla, film", "ume, film")},
        **{run: (accuracy(run), 0.8) for run in ("joint, film", "uniform, film")},
    },
    wrong={"MLA learns it under FiLM": ("mla, film", (accuracy("mla, film"), 0.8))},
    sizes=(600, 10, 600),
    first=64,
    most=256,
)
