"""Methods by what one types for them."""

from __future__ import annotations

from mmtheory.errors import ArgumentError
from mmtheory.moo import WEIGHTINGS

from ._method import Method
from .combined import Combined

PREFIX = "moo:"


def made(name: str) -> Method:
    """The method of that name with its defaults: a key of ``METHODS``, or ``moo:`` and a key of ``moo.WEIGHTINGS``.

    :raises ArgumentError: an unknown name.

    >>> made("ogm").card.name, made("moo:pcgrad").card.name
    ('ogm', 'moo')
    """
    from . import METHODS

    if name.startswith(PREFIX) and name.removeprefix(PREFIX) in WEIGHTINGS:
        return Combined(name.removeprefix(PREFIX))
    if name not in METHODS:
        raise ArgumentError(
            f"expected a method among {', '.join(METHODS)}, or {PREFIX} and one of {', '.join(WEIGHTINGS)}, found {name!r}"
        )
    return METHODS[name]()
