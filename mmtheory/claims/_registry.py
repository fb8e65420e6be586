"""Every claim of every installed program, found through the entry-point group ``mmtheory.claims``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from mmtheory.errors import ArgumentError

from ._claim import Claim


def registered() -> dict[str, Claim[Any]]:
    """Claim id → claim, in the order in which each program lists them.

    A package of yours joins with ``[project.entry-points."mmtheory.claims"] mine = "mine.claims:CLAIMS"``, a mapping id → claim.

    :raises ArgumentError: two programs register one id.
    """
    found: dict[str, Claim[Any]] = {}
    for entry in sorted(entry_points(group="mmtheory.claims"), key=lambda e: (e.name != "synthetic", e.name)):
        claims: Mapping[str, Claim[Any]] = entry.load()
        if twice := sorted(set(claims) & set(found)):
            raise ArgumentError(f"claims: expected each id once, found {', '.join(twice)} again in {entry.value}")
        found.update(claims)
    return found
