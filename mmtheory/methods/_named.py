"""Methods by what one types for them."""

from __future__ import annotations

from mmtheory.errors import ArgumentError

from ._method import Method
from .combined import KNOWN, Combined

PREFIX = "moo:"
OWN = ("famo", "graddrop", "mimo", "mmpareto", "ngdiff")
"""What has a method of its own: it needs more than a weighting's defaults."""


def made(name: str) -> Method:
    """The method of that name with its defaults: a key of ``METHODS``, or ``moo:`` and a multi-objective method of ``mmtheory.moo``.

    :raises ArgumentError: an unknown name.

    >>> made("ogm").card.name, made("moo:pcgrad").card.name, made("moo:famo").card.name
    ('ogm', 'moo', 'famo')
    """
    from . import METHODS

    key = name.removeprefix(PREFIX)
    if name in METHODS or (name.startswith(PREFIX) and key in OWN):
        return METHODS[key]()
    if name.startswith(PREFIX) and key in KNOWN:
        return Combined(key)
    known = sorted({*KNOWN, *OWN})
    raise ArgumentError(
        f"expected a method among {', '.join(METHODS)}, or {PREFIX} and one of {', '.join(known)}, found {name!r}"
    )
