"""Beside what was measured: what the world knows at each level, and its own mechanism simulated against its formula."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mmtheory.errors import MmtheoryError, NotExactError
from mmtheory.info import subsets
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from mmtheory.world import World
from synthetic.claims.huang2022._networks import population, start
from synthetic.claims.zhang2024._measured import random_passages
from synthetic.worlds import Competition, DeepLinear, Saturation
from synthetic.worlds.fusion_flow import FusionNet

from ._inputs import world_at
from ._measurement import Measurement
from ._phases import learnt
from .imbalance import LEVEL, Axis, Plan

OF_SUBSETS = ("bayes_risk", "information")
ATOMS = (("redundancy", "ab"), ("unique", "a"), ("unique", "b"), ("synergy", "ab"))
NETWORKS = 400
WIDTH = 4


def known(plan: Plan, axis: Axis) -> list[dict[str, Any]]:
    """Exact quantities at every level: risk and information of every subset, the decomposition, the world's own answers."""
    found: list[dict[str, Any]] = []
    for level, point in zip(axis.levels, axis.points, strict=True):
        world = world_at(plan.world, plan.dials, point)
        for quantity, given, side in _answers(world):
            ends = [v if abs(v) != float("inf") else None for v in (side.low, side.high)]
            found.append({
                "dial": axis.name, "level": level, "quantity": quantity, "given": given, "low": ends[0], "high": ends[1],
            })  # fmt: skip
    return found


def _answers(world: World) -> Iterator[tuple[str, str, Interval]]:
    """Quantity, modalities and exact value, whatever this law knows."""
    asked = [(q, "".join(sorted(s))) for q in OF_SUBSETS for s in sorted(subsets(world.modalities), key=sorted)]
    for quantity, given in (*asked, *(ATOMS if len(world.modalities) == len("ab") else ())):
        try:
            yield quantity, given, world.known(quantity, given)
        except MmtheoryError:
            continue
    for name, side in world.answers().items():
        yield name, "", side


def mechanisms(plan: Plan, axis: Axis) -> list[dict[str, Any]]:
    """The world's own learners, simulated at every level, beside the formula for them; nothing for worlds that have none."""
    found: list[dict[str, Any]] = []
    for level, point in zip(axis.levels, axis.points, strict=True):
        world = world_at(plan.world, plan.dials, point)
        simulate = SIMULATED.get(world.name)
        if simulate is None:
            continue
        stream = Stream(plan.seed, ("imbalance", "mechanism"))
        found += [{"dial": axis.name, "level": level, **m.as_json()} for m in simulate(world, stream)]
    return found


def lottery(world: World, stream: Stream) -> list[Measurement]:
    """How often each modality wins a class of the competition network under gradient flow, beside the lottery's integral."""
    if not isinstance(world, Competition):
        return []
    first = start(world, stream, NETWORKS, population(world)).until_learnt()[1]
    answers = world.answers()
    return [
        Measurement.share(f"win {m}", first == k, LEVEL, answers[f"win_{m}"]) for k, m in enumerate(world.modalities)
    ]


def phases(world: World, stream: Stream) -> list[Measurement]:
    """When the loop's own training learns each modality (``learnt``); and t_b/t_a of random late-fusion networks under gradient flow.

    Random networks in proportion at two starts, beside the law of leading order in u₀: the difference of their delays is free of the
    random directions.
    """
    if not isinstance(world, DeepLinear):
        return []
    trained = learnt(world, stream.child("learnt"), LEVEL)
    if world.fusion_layer != world.depth or world.depth != len("ab"):
        return trained
    net = FusionNet(world.depth, world.fusion_layer, WIDTH, world.dims)
    moments = world.moments if bool(world.moments.first()) else world.moments.swapped()
    count = NETWORKS // 20
    try:
        times = random_passages(net, moments, (1e-10, 1e-5), stream, count).times
    except NotExactError:
        return trained
    delay = times[0] - times[1]
    late = float(moments.late_ratio())
    name, exact = "later / earlier, random start, flow", Interval.exact(late, 1e-9 * late)
    return [*trained, Measurement.average(name, delay[..., 1] / delay[..., 0], LEVEL, exact)]


def saturated(world: World, stream: Stream) -> list[Measurement]:
    """Exact risks of what the learners that stop at full coverage learnt from random training sets, beside their expectations."""
    if not isinstance(world, Saturation):
        return []
    count = 10 * NETWORKS
    learnt = world.learn(world.occurrences(world.n, stream.draws(range(count))))
    risks: Mapping[str, Tensor] = {"joint risk": learnt.joint_risk, "ensemble risk": learnt.ensemble_risk}
    exact = {"joint risk": world.expected_joint(), "ensemble risk": world.expected_ensemble()}
    return [Measurement.average(name, risk.to(torch.float64), LEVEL, exact[name]) for name, risk in risks.items()]


SIMULATED: Mapping[str, Callable[[World, Stream], list[Measurement]]] = {
    "competition": lottery,
    "deep-linear": phases,
    "saturation": saturated,
}
