"""Case names that hold a number, read as curves over it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NUMBER = re.compile(r"^(.*?)([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(\D*)$")
LABEL = re.compile(r"^(?:(.*?)[\s,:;]+)?([^\s,:;]+?)[\s=]*$")
PANELS, LEAST = 6, 3


@dataclass(frozen=True)
class Curve:
    """The cases whose names differ in one number only.

    :param title: what their names say besides; "" if there is one curve.
    :param label: the name of the number.
    :param members: index of the case and its number, by number.
    """

    title: str
    label: str
    members: tuple[tuple[int, float], ...]


def curves(names: Sequence[str]) -> tuple[Curve, ...]:
    """The names as at most six curves of three or more numbers each; () if they are not.

    >>> [(c.title, c.label) for c in curves(["a at n=1", "a at n=2", "a at n=4"])]
    [('', 'n')]
    >>> curves(["a", "b"])
    ()
    """
    groups: dict[tuple[str, str], dict[float, int]] = {}
    for index, name in enumerate(names):
        found = NUMBER.match(name)
        if found is None:
            return ()
        group = groups.setdefault((found.group(1), found.group(3)), {})
        if group.setdefault(float(found.group(2)), index) != index:
            return ()
    if not 1 <= len(groups) <= PANELS or min(map(len, groups.values())) < LEAST:
        return ()
    return tuple(_curve(before, after, group, alone=len(groups) == 1) for (before, after), group in groups.items())


def _curve(before: str, after: str, group: dict[float, int], *, alone: bool) -> Curve:
    """Title and label from the text around the number."""
    found = LABEL.match(before.strip())
    title, label = (found.group(1) or "", found.group(2)) if found else ("", "case")
    title = f"{title.removesuffix(' at')} {after.strip()}".strip()
    return Curve(
        "" if alone else title or label, label.strip("=") or "case", tuple((group[x], x) for x in sorted(group))
    )
