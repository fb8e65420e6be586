"""Methods by what one types for them."""

from __future__ import annotations

from mmtheory.errors import ArgumentError
from mmtheory.moo import BEYOND, IN_LOOP

from ._method import Method
from .combined import Combined

PREFIX = "moo:"


def made(name: str) -> Method:
    """The method of that name with its defaults: a key of ``METHODS``, or ``moo:`` and a multi-objective method of ``mmtheory.moo``.

    :raises ArgumentError: an unknown name.

    >>> made("ogm").card.name, made("moo:pcgrad").card.name, made("moo:famo").card.name
    ('ogm', 'moo', 'famo')
    """
    from . import METHODS

    key = name.removeprefix(PREFIX)
    known = sorted({*IN_LOOP, *BEYOND})
    # What needs more than a weighting's defaults has a method of its own.
    if name in METHODS or (name.startswith(PREFIX) and key in known and key in METHODS):
        return METHODS[key]()
    if name.startswith(PREFIX) and key in IN_LOOP:
        return Combined(key)
    raise ArgumentError(
        f"expected a method among {', '.join(METHODS)}, or {PREFIX} and one of {', '.join(known)}, found {name!r}"
    )
