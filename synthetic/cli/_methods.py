"""``mmtheory methods``: the cards of every training method."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import tyro

from mmtheory.experiment.settings import parse
from mmtheory.methods import METHODS, made, settings_of

DESCRIPTION = """List training methods: what each does, where it comes from, what it costs a step (forwards F and
backwards B of everything), in which setting it is joint training bit for bit, each difference from released code,
and what can be set (mmtheory imbalance --methods ogm:alpha=1).

examples:
  mmtheory methods
  mmtheory methods ogm pmr moo:pcgrad
  mmtheory methods --json"""


FOLLOWS = {
    "paper": "follows the paper",
    "repo": "follows the released code",
    "reconstruction": "reconstruction: text or code was not, or not wholly, at hand",
}
LEGEND = """F and B: one forward and one backward of everything; M: the number of modalities; joint training: one loss on the fused output.
A · line is a difference from the paper or from released code, with the option that mirrors the code where there is one."""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory methods`` can be told."""

    names: Annotated[
        tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="METHOD ...", help_behavior_hint="")
    ] = ()
    """Methods; by default all."""
    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="methods", description=DESCRIPTION)
    cards: list[dict[str, Any]] = [
        {
            **asdict(method.card),
            "name": name,
            "needs": sorted(method.needs),
            "settings": settings_of(name),
        }
        for name, method in ((name, made(name)) for name in options.names or METHODS)
    ]
    if options.json:
        sys.stdout.write(json.dumps({"methods": cards}) + "\n")
        return 0
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for card in cards:
        console.print(f"{card['name']}  {card['summary']}", style="bold", soft_wrap=True)
        for line in _facts(card):
            console.print(f"    {line}", style="dim", soft_wrap=True)
        for difference in card["differences"]:
            console.print(f"    · {difference}", style="dim", soft_wrap=True)
    console.print(f"{len(cards)} method{'s' * (len(cards) != 1)}. {LEGEND}", soft_wrap=True)
    return 0


def _facts(card: dict[str, Any]) -> list[str]:
    """Source, cost and neutral setting of a card, in words."""
    neutral = {"": "never joint training", "always": "this is joint training"}.get(
        card["neutral"], f"joint training bit for bit at {card['neutral']}"
    )
    wants = "; wants a validation split" if "validation" in card["needs"] else ""
    own = ", ".join(f"{k}={json.dumps(v).strip(chr(34))}" for k, v in card["settings"].items())
    return [
        f"{card['source']}; {FOLLOWS[card['fidelity']]}",
        f"a step costs {card['cost']}; {neutral}{wants}",
        f"settings: {own or 'none'}",
    ]
