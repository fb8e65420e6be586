"""``mmtheory methods``: the cards of every training method."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from mmtheory.experiment.settings import parse
from mmtheory.methods import METHODS

DESCRIPTION = """List every training method: what it does, where it comes from, what it costs a step (forwards F and
backwards B of everything), in which setting it is joint training bit for bit, and each difference from released code.

example:
  mmtheory methods --json"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory methods`` can be told."""

    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="methods", description=DESCRIPTION)
    cards: list[dict[str, Any]] = [
        {**asdict(kind.card), "name": name, "needs": sorted(kind.needs)} for name, kind in METHODS.items()
    ]
    if options.json:
        sys.stdout.write(json.dumps({"methods": cards}) + "\n")
        return 0
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for card in cards:
        console.print(f"{card['name']}  {card['summary']}", style="bold", soft_wrap=True)
        neutral = f"; joint training at {card['neutral']}" if card["neutral"] else ""
        console.print(
            f"    {card['source']} ({card['fidelity']}); {card['cost']}{neutral}", style="dim", soft_wrap=True
        )
        for difference in card["differences"]:
            console.print(f"    · {difference}", style="dim", soft_wrap=True)
    console.print(f"{len(cards)} methods")
    return 0
