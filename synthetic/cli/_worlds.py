"""``mmtheory worlds``: the worlds and their dials."""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import dataclass
from typing import Any, get_type_hints

from mmtheory.experiment import finite
from mmtheory.experiment.settings import parse
from mmtheory.world import World
from synthetic.worlds import WORLDS

from ._dials import described, dial_defaults

DESCRIPTION = """List the synthetic worlds: laws of several modalities and a label that can be sampled and that know
their own answers. `mmtheory world NAME` prints the answers of one.

example:
  mmtheory worlds --json"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory worlds`` can be told."""

    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="worlds", description=DESCRIPTION)
    told = [described_world(kind) for kind in WORLDS.values()]
    if options.json:
        sys.stdout.write(json.dumps({"worlds": told}, allow_nan=False) + "\n")
    else:
        _show(told)
    return 0


def described_world(kind: type[World]) -> dict[str, Any]:
    """Name, summary, task, modalities and dials of a world at its defaults."""
    text, hints = inspect.getdoc(kind) or "", get_type_hints(kind)
    return {
        "name": kind.name,
        "summary": text.split("\n\n")[0].replace("\n", " "),
        "task": kind.task,
        "modalities": list(kind().modalities),
        "dials": [
            {"name": name, "default": finite(default), "type": described(hints[name]), "meaning": _meaning(text, name)}
            for name, default in dial_defaults(kind).items()
        ],
    }


def _meaning(text: str, name: str) -> str:
    """What the docstring says about a parameter."""
    found = re.search(rf":param {name}:(.*?)(?=\n\s*:|\n\n|\Z)", text, re.DOTALL)
    return " ".join(found.group(1).split()) if found else ""


def _show(told: list[dict[str, Any]]) -> None:
    """The same for reading."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for world in told:
        console.print(f"{world['name']}  ({world['task']}; modalities {', '.join(world['modalities'])})", style="bold")
        console.print(f"  {world['summary']}", soft_wrap=True)
        for dial in world["dials"]:
            default = (
                json.dumps(dial["default"]).strip("[]") if not _nested(dial["default"]) else json.dumps(dial["default"])
            )
            meaning = f": {dial['meaning']}" if dial["meaning"] else ""
            console.print(
                f"    {dial['name']}={default.replace(', ', ',').strip(chr(34))}{meaning}", style="dim", soft_wrap=True
            )


def _nested(value: Any) -> bool:  # noqa: ANN401 (JSON as it comes)
    return isinstance(value, list) and any(isinstance(v, list) for v in value)
