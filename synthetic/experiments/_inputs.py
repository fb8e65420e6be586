"""From a world to what networks are trained on: real inputs a modality, labels or numbers, three parts of one draw a replicate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from mmtheory.batch import Batch
from mmtheory.errors import ArgumentError
from mmtheory.rng import Stream
from mmtheory.world import World
from synthetic.worlds import WORLDS, DeepLinear, Enumerated

AT_ONCE = 16


@dataclass(frozen=True)
class Parts:
    """Training, validation and test samples of the same law, [R, n, …] each.

    :param classes: outputs of a network for them: one where the targets are numbers.
    """

    train: Batch
    validation: Batch
    test: Batch
    classes: int

    @property
    def numbers(self) -> bool:
        """Whether the targets are numbers."""
        return self.train.y.is_floating_point()


def world_at(name: str, dials: Mapping[str, Any], point: Mapping[str, Any]) -> World:
    """The world with these dials, moved to a point of a sweep.

    A number for a dial that holds one value a modality moves the first modality alone.

    :raises ArgumentError: an unknown world or dial, a value outside its domain, a dial that holds lists.
    """
    if name not in WORLDS:
        raise ArgumentError(f"imbalance: expected a world among {', '.join(WORLDS)}, found {name!r}")
    world = WORLDS[name].from_dials(dials)
    known = {f.name for f in fields(world)}
    moved: dict[str, Any] = {}
    for dial, value in point.items():
        if dial not in known:
            raise ArgumentError(f"{name}: expected a dial among {', '.join(sorted(known))}, found {dial!r}")
        now: Any = getattr(world, dial)
        if not isinstance(now, tuple):
            moved[dial] = type(now)(value)
        elif any(isinstance(part, tuple) for part in cast("tuple[object, ...]", now)):
            raise ArgumentError(f"{name}: expected a dial that holds numbers or words, found {dial}, which holds lists")
        else:
            moved[dial] = (type(now[0])(value), *now[1:]) if now else (value,)
    return replace(world, **moved)


def at_rest(world: World, dial: str) -> Any:  # noqa: ANN401 (a dial's value as it is)
    """What a dial's level is where nobody moves it: its value, of a dial with one value a modality the first's, 0 where there are none."""
    now: Any = getattr(world, dial, None)
    return (now[0] if now else 0.0) if isinstance(now, tuple) else now


def shapes(world: World) -> tuple[object, ...]:
    """What has to be equal in worlds whose networks are trained in one stack: inputs, outputs, layers."""
    drawn = _drawn(world, 2, Stream(0), [0], sign=False)
    layers = (world.depth, world.fusion_layer, world.dims) if isinstance(world, DeepLinear) else ()
    widths = tuple((m, v.shape[-1]) for m, v in drawn.x.items())
    return widths, tuple(drawn.present), getattr(world, "classes", 2), layers


def parts(
    worlds: Sequence[World], sizes: Sequence[int], *, stream: Stream, seeds: Sequence[int], sign: bool = False
) -> Parts:
    """Samples of every world at every seed, [len(worlds)·len(seeds), n, …], seeds running fastest.

    A seed's noise is the same in all worlds, which pairs them.

    :param sign: ask a world of regression for the sign of its target, two classes, and not for the number.
    """
    batches = [_stacked(world, sum(sizes), stream, seeds, sign=sign) for world in worlds]
    x = {m: torch.cat([b.x[m] for b in batches]) for m in batches[0].x}
    y = torch.cat([b.y for b in batches])
    present = {m: torch.cat([b.present[m] for b in batches]) for m in batches[0].present}
    whole = Batch(x, y, present)
    stops = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    cut = [whole.rows(slice(stop - size, stop)) for size, stop in zip(sizes, stops, strict=True)]
    outputs = 1 if y.is_floating_point() else max(getattr(w, "classes", 2) for w in worlds)
    return Parts(cut[0], cut[1], cut[2], classes=outputs)


def _stacked(world: World, n: int, stream: Stream, seeds: Sequence[int], *, sign: bool) -> Batch:
    """n samples a seed as float32, [seeds, n, d]; drawn a few seeds at a time, since a law draws in double precision."""
    drawn = [_drawn(world, n, stream, seeds[k : k + AT_ONCE], sign=sign) for k in range(0, len(seeds), AT_ONCE)]
    x = {m: torch.cat([b.x[m] for b in drawn]) for m in world.modalities}
    present = {m: torch.cat([b.present[m] for b in drawn]) for m in drawn[0].present}
    return Batch(x, torch.cat([b.y for b in drawn]), present)


def _drawn(world: World, n: int, stream: Stream, seeds: Sequence[int], *, sign: bool) -> Batch:
    drawn = world.sample(n, stream=stream, replicates=range(min(seeds), max(seeds) + 1))
    kept = torch.tensor([seed - min(seeds) for seed in seeds])
    x = {m: _real(world, m, v[kept], drawn.y.ndim) for m, v in drawn.x.items()}
    y = drawn.y[kept]
    if world.task == "regression":
        y = (y > 0).long() if sign else y.float()
    return Batch(x, y if y.is_floating_point() else y.long(), {m: v[kept] for m, v in drawn.present.items()})


def _real(world: World, modality: str, x: Tensor, axes: int) -> Tensor:
    """Symbols one-hot, numbers as they are, a trailing axis where there is none."""
    if x.is_floating_point():
        return (x if x.ndim > axes else x.unsqueeze(-1)).float()
    if not isinstance(world, Enumerated):
        raise ArgumentError(f"{world.name}: expected real inputs or a world that is a table of symbols, found integers")
    return one_hot(x, world.table.shape[world.modalities.index(modality)]).float()
