"""``mmtheory world``: the exact answers of one world for every subset of its modalities."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import tyro

from mmtheory.errors import ArgumentError, NotExactError, likely
from mmtheory.experiment import ends, finite, interval
from mmtheory.experiment.settings import gathered, parse
from mmtheory.info import subsets
from mmtheory.stats import Interval
from mmtheory.world import QUANTITIES, World
from synthetic.worlds import WORLDS

from ._dials import build

PID = ("redundancy", "unique", "synergy")
WHOLE = ("label_entropy",)
DESCRIPTION = """Print the exact answers of one world for every subset of its modalities: information, Bayes risk,
partial information decomposition, Shapley values and what else the law knows of itself. Nothing is estimated:
each answer is an interval that is certain to hold the truth. Information is in nats.

examples:
  mmtheory world gaussian-regression
  mmtheory world gaussian-regression --set snr=3,1 label_noise=0.2
  mmtheory world table --set gate=xor --json"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory world`` can be told."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = ""
    """A world's name; `mmtheory worlds` lists them."""
    set: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...", help_behavior_hint="")] = ()
    """Dials. A comma list gives one value a modality (and a comma list of three makes three modalities);
    one number goes to every modality; dials that are not named keep their defaults."""
    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, gathered(argv, "--set"), command="world", description=DESCRIPTION)
    if options.name not in WORLDS:
        hint = likely(options.name, WORLDS, most=2)
        found = repr(options.name) if options.name else "no name"
        raise ArgumentError(f"world: expected one of {', '.join(WORLDS)}, found {found}{hint}")
    told = answers(build(WORLDS[options.name], options.set))
    if options.json:
        sys.stdout.write(json.dumps(told, allow_nan=False) + "\n")
    else:
        _show(told)
    return 0


def answers(world: World) -> dict[str, Any]:
    """Everything the world knows, as the JSON object that ``--json`` prints; what it does not know is left out or null."""
    names = dict.fromkeys(quantity for quantity, _ in world.exact() if quantity not in {*PID, *WHOLE})
    told: dict[str, Any] = {}
    for given in subsets(world.modalities):
        known = {name: _known(world, name, given) for name in names}
        told[_key(world, given)] = {name: ends(value) for name, value in known.items() if value is not None}
    pid, why = _pid(world)
    whole = {name: _known(world, name, ()) for name in WHOLE}
    others = {**{k: v for k, v in whole.items() if v is not None}, **world.answers()}
    return {
        "world": world.name,
        "dials": finite(world.dials()),
        "task": world.task,
        "modalities": list(world.modalities),
        "subsets": told,
        "pid": pid,
        **({"pid_unknown": why} if pid is None else {}),
        "shapley": _shapley(world),
        "answers": {name: ends(value) for name, value in others.items()},
        "unit": "nat",
    }


def _key(world: World, given: frozenset[str]) -> str:
    """``a,b`` in the world's order."""
    return ",".join(m for m in world.modalities if m in given)


def _known(world: World, quantity: str, given: frozenset[str] | tuple[()]) -> Interval | None:
    """The answer, or None where this law has none."""
    try:
        return world.known(quantity, given)
    except NotExactError:
        return None


def _pid(world: World) -> tuple[dict[str, Any] | None, str]:
    """Redundancy, unique and synergy of a two-modality world, or None and why not."""
    if len(world.modalities) != 2:
        return None, f"expected two modalities, found {len(world.modalities)}"
    both = frozenset(world.modalities)
    try:
        redundancy, synergy = world.known("redundancy", both), world.known("synergy", both)
        unique = {m: ends(world.known("unique", frozenset({m}))) for m in world.modalities}
    except NotExactError as error:
        return None, str(error)
    return {"redundancy": ends(redundancy), "unique": unique, "synergy": ends(synergy)}, ""


def _shapley(world: World) -> dict[str, Any] | None:
    """Each modality's share of the information; None where it is unknown or infinite."""
    total = _known(world, "information", frozenset(world.modalities))
    if total is None or ends(total)[1] is None:
        return None
    try:
        return {m: ends(share) for m, share in world.shapley("information").items()}
    except NotExactError:
        return None


def _show(told: Mapping[str, Any]) -> None:
    """The same as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    console.print(
        f"{told['world']} ({told['task']}): " + ", ".join(f"{k}={_plain(v)}" for k, v in told["dials"].items()),
        soft_wrap=True,
    )
    names = list(dict.fromkeys(name for known in told["subsets"].values() for name in known))
    table = Table("modalities", *names, box=None, pad_edge=False)
    for subset, known in told["subsets"].items():
        table.add_row(subset, *(interval(known[name]) if name in known else "–" for name in names))
    console.print(table)
    for name in names:
        console.print(f"  {name}: {QUANTITIES.get(name, 'a quantity of this world')}", style="dim", soft_wrap=True)
    _show_rest(told, partial(console.print, soft_wrap=True))


def _show_rest(told: Mapping[str, Any], tell: Callable[[str], None]) -> None:
    """PID, Shapley values and the answers that are no function of a subset."""
    if told["pid"]:
        pid = told["pid"]
        unique = "".join(f", unique {m} {interval(u)}" for m, u in pid["unique"].items())
        tell(f"PID, nat: redundancy {interval(pid['redundancy'])}{unique}, synergy {interval(pid['synergy'])}")
    elif len(told["modalities"]) == len("ab"):
        tell(f"PID: {told['pid_unknown']}")
    if told["shapley"]:
        tell(
            "Shapley values of the information, nat: "
            + ", ".join(f"{m} {interval(v)}" for m, v in told["shapley"].items())
        )
    for name, value in told["answers"].items():
        tell(f"{name}: {interval(value)}")


def _plain(value: Any) -> str:  # noqa: ANN401 (JSON as it comes)
    """A dial's value as ``--set`` takes it."""
    if isinstance(value, list):
        return json.dumps(value) if any(isinstance(v, list) for v in value) else ",".join(map(str, value))
    return str(value)
