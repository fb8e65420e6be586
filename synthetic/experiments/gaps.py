"""Which gap it is: a modality that is learnt more slowly, or one that knows less, level by level, with the evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmtheory.diagnose import Diagnosis, Gap, judged
from mmtheory.errors import MmtheoryError
from mmtheory.experiment import summary
from mmtheory.stats import Interval
from mmtheory.world import World

from ._inputs import world_at
from .imbalance import LEVEL, Measured, Plan

NEEDED = ("joint", "unimodal")
SEVERAL = 2


def gaps(plan: Plan, measured: Measured) -> list[dict[str, Any]]:
    """One row a level and modality: the cause, the speed gap and the information gap with intervals, what was heard and readable.

    The readouts are those of ``diagnose``: of joint training's encoder, of the encoder trained alone, of the inputs; each at the
    method's own learning rate. All gaps of a level hold together with probability 95 %. ``decay`` is how much of its largest lead the
    modality lost again under joint training; ``known`` is the information gap between Bayes rules, where the world has it.
    """
    if any(method not in measured.metrics for method in NEEDED):
        return []
    found: list[dict[str, Any]] = []
    for k, (level, point) in enumerate(zip(measured.axis.levels, measured.axis.points, strict=True)):
        world = world_at(plan.world, plan.dials, point)
        told = _told(measured, world.modalities, k)
        bayes = {} if plan.sign and world.task == "regression" else _bayes_gaps(world)
        for m in world.modalities:
            gap = told.gaps[m] if told is not None else None
            traced = f"decay {m}" in measured.metrics["joint"]
            lost = [v for v in measured.values("joint", f"decay {m}", k) if v is not None] if traced else []
            found.append({
                "dial": measured.axis.name, "level": level, "modality": m, "cause": gap.cause if gap else None,
                **_evidence(gap), "decay": summary(lost), "known": bayes.get(m),
            })  # fmt: skip
    return found


def _told(measured: Measured, modalities: Sequence[str], k: int) -> Diagnosis | None:
    """The diagnosis of one level; None where fewer than two seeds ran to the end in all readouts."""
    columns = {m: [measured.values(who, f"{what} {m}", k) for who, what in READOUTS] for m in modalities}
    kept = [
        seed
        for seed in range(len(next(iter(columns.values()))[0]))
        if all(column[seed] is not None for found in columns.values() for column in found)
    ]
    if len(kept) < SEVERAL:
        return None

    def stacked(which: int) -> dict[str, Tensor]:
        return {
            m: torch.tensor([[found[which][seed]] for seed in kept], dtype=torch.float64)
            for m, found in columns.items()
        }

    return judged(*(stacked(which) for which in range(len(READOUTS))), alpha=LEVEL)


READOUTS = (("joint", "probe"), ("unimodal", "probe"), ("joint", "raw"))


def _evidence(gap: Gap | None) -> dict[str, Any]:
    """Both gaps as intervals about their middles, and the mean readouts."""
    if gap is None:
        nothing = {"mean": None, "low": None, "high": None}
        return {"speed": nothing, "information": nothing, "heard": None, "readable": None}
    sides = {"speed": gap.speed, "information": gap.information}
    return {
        **{name: {"mean": side.middle, "low": side.low, "high": side.high} for name, side in sides.items()},
        "heard": float(gap.heard.mean()), "readable": float(gap.readable.mean()),
    }  # fmt: skip


def _bayes_gaps(world: World) -> Mapping[str, dict[str, float]]:
    """Bayes accuracy of the best modality minus each one's, where the world knows them; of numbers shares of their variance."""
    try:
        risk = {m: world.known("bayes_risk", {m}) for m in world.modalities}
        if world.task == "regression":
            spread = world.known("bayes_risk", ())
            risk = {m: side * (1 / spread.middle) for m, side in risk.items()}
    except MmtheoryError:
        return {}
    best = min(risk.values(), key=lambda side: side.middle)
    lost: dict[str, Interval] = {m: side - best for m, side in risk.items()}
    return {m: {"low": max(0.0, side.low), "high": max(0.0, side.high)} for m, side in lost.items()}
