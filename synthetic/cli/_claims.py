"""``mmtheory claims``: every registered claim."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

from mmtheory.claims import Claim, registered
from mmtheory.experiment import finite
from mmtheory.experiment.settings import parse

DESCRIPTION = """List every registered claim: a falsifiable statement about a world, its source and how sure we are that the
source says so (tag), and what each budget lets it spend. `mmtheory verify ID` tries one.

example:
  mmtheory claims --json"""


@dataclass(frozen=True)
class Options:
    """What ``mmtheory claims`` can be told."""

    json: bool = False
    """Print one JSON object."""


def main(argv: list[str]) -> int:
    """Run the sub-command."""
    options = parse(Options, argv, command="claims", description=DESCRIPTION)
    told = [described(claim) for claim in registered().values()]
    if options.json:
        sys.stdout.write(json.dumps({"claims": told}, allow_nan=False) + "\n")
    else:
        _show(told)
    return 0


def described(claim: Claim[Any]) -> dict[str, Any]:
    """One claim as JSON."""
    return {
        "id": claim.id,
        "source": str(claim.source),
        "paper": claim.source.paper,
        "tag": claim.source.tag,
        "statement": claim.statement,
        "world": claim.world.label(),
        "dials": finite(claim.world.dials()),
        "relation": claim.relation.value,
        "margin": finite(claim.margin),
        "registered": claim.registered.value,
        "unit": claim.unit,
        "budgets": {name: asdict(budget) for name, budget in claim.budgets.items()},
    }


def _show(told: list[dict[str, Any]]) -> None:
    """The same for reading: a paragraph a claim."""
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    for claim in told:
        budgets = ", ".join(
            f"{name} {b['first']:,}–{b['most']:,} {claim['unit']}" for name, b in claim["budgets"].items()
        )
        console.print(f"{claim['id']}  {claim['statement']}", style="bold", soft_wrap=True)
        console.print(
            f"    {claim['source']} ({claim['tag']}); in {claim['world']}; {budgets}", style="dim", soft_wrap=True
        )
    console.print(f"{len(told)} claims")
