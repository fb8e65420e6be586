"""Methods by what one types for them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from mmtheory.errors import ArgumentError, likely
from mmtheory.moo import BEYOND, IN_LOOP

from ._method import Method

PREFIX = "moo:"
HANDED_OVER = {"contribution", "pretrained"}
"""What is an object, and cannot be typed."""


def made(text: str) -> Method:
    """The method of that name: a key of ``METHODS``, or ``moo:`` and a multi-objective method of ``mmtheory.moo``; settings behind colons.

    :raises ArgumentError: an unknown name, a setting that the method does not have or that is out of its range.

    >>> made("ogm").card.name, made("moo:pcgrad").card.name, made("moo:famo").card.name
    ('ogm', 'moo', 'famo')
    >>> made("ogm:alpha=0.1:form=journal").form
    'journal'
    """
    return configured(*parted(text))


def parted(text: str) -> tuple[str, dict[str, Any]]:
    """The key of ``METHODS`` in what was typed, and the settings.

    :raises ArgumentError: an unknown name.

    >>> parted("moo:pcgrad:weight=2")
    ('moo', {'weighting': 'pcgrad', 'weight': 2})
    """
    from . import METHODS

    parts = text.split(":")
    settings = {k.strip(): _value(v.strip()) for k, _, v in (p.partition("=") for p in parts if "=" in p)}
    name = ":".join(p for p in parts if "=" not in p)
    key, known = name.removeprefix(PREFIX), sorted({*IN_LOOP, *BEYOND})
    # What needs more than a weighting's defaults has a method of its own.
    if name in METHODS or (name.startswith(PREFIX) and key in known and key in METHODS):
        return key, settings
    if name.startswith(PREFIX) and key in IN_LOOP:
        return "moo", {"weighting": key, **settings}
    hint = likely(name, [*METHODS, *(PREFIX + k for k in known)])
    raise ArgumentError(
        f"expected a method among {', '.join(METHODS)}, or {PREFIX} and one of {', '.join(known)}, found {name!r}{hint}"
    )


def configured(name: str, settings: Mapping[str, Any]) -> Method:
    """The method of that key of ``METHODS`` with settings of its own.

    :raises ArgumentError: a setting that the method does not have or that is out of its range.
    """
    from . import METHODS

    try:
        return METHODS[name](**settings)
    except TypeError as error:  # numbers that are compared to words as well
        known = ", ".join(inspect.signature(METHODS[name]).parameters) or "none"
        raise ArgumentError(f"{name}: expected settings among {known}, found {dict(settings)} ({error})") from error


def settings_of(text: str) -> dict[str, float | bool | str | None]:
    """What can be set on a method by a number, a truth value or a word, with its values.

    :raises ArgumentError: an unknown name.

    >>> settings_of("moo:pcgrad")
    {'weighting': 'pcgrad', 'weight': 1.0, 'scope': 'encoder', 'beta': None}
    """
    from . import METHODS

    name, given = parted(text)
    parameters = inspect.signature(METHODS[name]).parameters.values()
    plain = (float, int, str, type(None))
    found = {p.name: p.default for p in parameters if p.name not in HANDED_OVER and isinstance(p.default, plain)}
    return {**found, **given}


def _value(text: str) -> Any:  # noqa: ANN401 (a number, a truth value or a word)
    try:
        return json.loads(text)
    except ValueError:
        return text
