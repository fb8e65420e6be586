"""P16: in a world of pure synergy, who rewards single modalities alone stays at chance."""

from __future__ import annotations

from dataclasses import replace

from synthetic.worlds import Table

from ._contrasts import Contrast, Run, Term, method, prediction, share_of

NAMES = ("joint", "uniform", "ogm", "mla", "ume")


def trained(name: str, fusion: str) -> Run:
    """At a rate at which joint training under FiLM learns parity."""
    return replace(method(name), rate=0.05, fusion=fusion)


def share(metric: str, run: str) -> Contrast:
    """In which share of the tasks the run solved parity, or did not."""
    return (Term(1.0, run, metric),)


ADDITIVE = {f"{name}, additive": trained(name, "concat") for name in NAMES}
FILM = {f"{name}, film": trained(name, "film") for name in ("joint", "uniform", "mla", "ume")}

PURE_SYNERGY = prediction(
    "P16",
    "Parity of two bits: every method with additive logits, and MLA and UME under FiLM, fail to solve it in 7 tasks of 10 or more; joint "
    "training and uniform multi-loss under FiLM solve it in half of them or more.",
    world=Table("xor"),
    runs={**ADDITIVE, **FILM},
    contrasts={
        **{run: (share("unsolved", run), 0.7) for run in (*ADDITIVE, "mla, film", "ume, film")},
        **{run: (share("solved", run), 0.5) for run in ("joint, film", "uniform, film")},
    },
    wrong={"MLA learns it under FiLM": ("mla, film", (share("solved", "mla, film"), 0.5))},
    interval=share_of,
    sizes=(600, 10, 600),
    first=64,
    most=256,
)
