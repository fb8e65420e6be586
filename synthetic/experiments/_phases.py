"""When the deep linear network learns each modality, trained by the one loop on samples, beside the world's exact answers."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from mmtheory.methods import Gradients, Joint, Step
from mmtheory.rng import Stream
from mmtheory.stats import Interval
from mmtheory.training import Settings, Trainer
from synthetic.worlds import DeepLinear

from ._inputs import parts
from ._measurement import Measurement
from ._networks import maps, phase_networks

SEEDS = 16
SAMPLES, BATCH = 2000, 200
FINE = 0.03
"""Learning rate times the rate at which the first modality grows: Euler's steps then lag half of this behind the flow."""
MOST = 16000
"""Steps that are taken at most; what is learnt later than that is not waited for."""
LOOKED = 5
"""Steps from one look at the maps to the next: they grow by a seventh between."""
APART = 3.0
"""Ratio of the times from which on the first modality has a plateau of its own."""


def learnt(world: DeepLinear, stream: Stream, alpha: float) -> list[Measurement]:
    """Times at which the maps pass their marks, who is first, and what the first is credited with while the other waits.

    Joint training of ``SEEDS`` networks from the aligned start by plain SGD, each on samples of its own; time is steps × learning rate.
    """
    answers = world.answers()
    exact = {m: answers.get(f"passage_time_{m}", answers[f"phase_time_{m}"]) for m in world.modalities}
    last = max(side.high for side in exact.values())
    rate = FINE / max(float(world.moments.target(k).norm()) for k in (0, 1))
    if not last * 1.3 / rate <= MOST:
        return []
    first, second = sorted(world.modalities, key=lambda m: exact[m].middle)
    moments = world.moments if first == "a" else world.moments.swapped()
    alone, final = moments.alone(0), moments.together().split(moments.dims, dim=-1)
    aims = {first: alone, second: final[1]}
    lines = _maps_over_time(world, stream, rate, math.ceil(1.3 * last / rate), aims)
    times = {m: _passage(lines[m], float(aim.norm()) / 2, LOOKED * rate) for m, aim in aims.items()}
    if not all(bool(t.isfinite().all()) for t in times.values()):
        return []
    found: list[Measurement] = [
        Measurement.average(f"time to learn {m}", times[m], alpha, exact[m]) for m in world.modalities
    ]
    ratio = Interval(exact[second].low / exact[first].high, exact[second].high / exact[first].low)
    found.append(Measurement.average("later / earlier", times[second] / times[first], alpha, ratio))
    if exact[first].high < exact[second].low:
        name = f"{world.modalities[0]} is learnt first"
        wins = times[world.modalities[0]] < times[world.modalities[1]]
        found.append(Measurement.share(name, wins, alpha, Interval.exact(float(first == world.modalities[0]))))
    if world.fusion_layer == world.depth and ratio.low > APART:
        middle = ((times[first] + times[second]) / 2 / (LOOKED * rate)).long()
        held = lines[first].gather(0, middle.unsqueeze(0)).squeeze(0)
        plateau = Interval.exact(float(alone.norm()), 1e-9)
        found.append(Measurement.average("weight of the first while the other waits", held, alpha, plateau))
    return found


def _maps_over_time(
    world: DeepLinear, stream: Stream, rate: float, steps: int, aims: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """End-to-end maps along their aims at every look, [looks, seed], until all have come half of their way."""
    seeds = list(range(SEEDS))
    data = parts([world], (SAMPLES, 1, 1), stream=stream.child("data"), seeds=seeds)
    how = Settings(
        epochs=math.ceil(steps * BATCH / SAMPLES), batch_size=BATCH, lr=rate, momentum=0.0, weight_decay=0.0, loss="squared"
    )  # fmt: skip
    trainer = Trainer(
        phase_networks([world] * SEEDS), Joint(), data.train, settings=how, stream=stream.child("train"), replicates=seeds
    )  # fmt: skip
    seen: dict[str, list[Tensor]] = {m: [] for m in aims}

    @torch.no_grad()
    def look(step: Step, gradients: Gradients, *, by_hand: bool) -> None:  # noqa: ARG001 (the loop's own call)
        if step.index % LOOKED == 0:
            for m, found in maps(step.model).items():
                seen[m].append(found.double() @ _unit(aims[m]))

    trainer.watch = look
    for _ in range(how.epochs):
        trainer.run(1)
        if all(bool((seen[m][-1] > aim.norm() / 2).all()) for m, aim in aims.items()):
            break
    return {m: torch.stack(line) for m, line in seen.items()}


def _passage(line: Tensor, mark: float, rate: float) -> Tensor:
    """When each seed's line [steps, seed] first passes the mark, between two steps by a straight line; infinite if never."""
    above = line >= mark
    k = above.int().argmax(0).clamp(min=1)
    before, after = (line.gather(0, index.unsqueeze(0)).squeeze(0) for index in (k - 1, k))
    when = rate * (k - 1 + (mark - before) / (after - before))
    return torch.where(above.any(0), when, math.inf)


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()
