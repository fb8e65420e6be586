"""Methods by what one types for them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from mmtheory.errors import ArgumentError
from mmtheory.moo import BEYOND, IN_LOOP

from ._method import Method
from .combined import Combined

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
    parts = text.split(":")
    name = ":".join(p for p in parts if "=" not in p)
    settings = {k.strip(): _value(v.strip()) for k, _, v in (p.partition("=") for p in parts if "=" in p)}
    return configured(name, settings)


def configured(name: str, settings: Mapping[str, Any]) -> Method:
    """The method of that name with settings of its own.

    :raises ArgumentError: an unknown name, a setting that the method does not have or that is out of its range.
    """
    maker = _maker(name)
    try:
        return maker(**settings)
    except TypeError as error:  # numbers that are compared to words as well
        raise ArgumentError(
            f"{name}: expected settings among {', '.join(inspect.signature(maker).parameters) or 'none'}, found {dict(settings)} ({error})"
        ) from error


def settings_of(name: str) -> dict[str, float | bool | str | None]:
    """What can be set on the method of that name by a number, a truth value or a word, with its defaults.

    :raises ArgumentError: an unknown name.

    >>> settings_of("moo:pcgrad")
    {'weight': 1.0, 'scope': 'encoder', 'beta': None}
    """
    parameters = inspect.signature(_maker(name)).parameters.values()
    plain = (float, int, str, type(None))
    return {p.name: p.default for p in parameters if p.name not in HANDED_OVER and isinstance(p.default, plain)}


def _maker(name: str) -> Callable[..., Method]:
    from . import METHODS

    key = name.removeprefix(PREFIX)
    known = sorted({*IN_LOOP, *BEYOND})
    # What needs more than a weighting's defaults has a method of its own.
    if name in METHODS or (name.startswith(PREFIX) and key in known and key in METHODS):
        return METHODS[key]
    if name.startswith(PREFIX) and key in IN_LOOP:
        return partial(Combined, key)
    raise ArgumentError(
        f"expected a method among {', '.join(METHODS)}, or {PREFIX} and one of {', '.join(known)}, found {name!r}"
    )


def _value(text: str) -> Any:  # noqa: ANN401 (a number, a truth value or a word)
    try:
        return json.loads(text)
    except ValueError:
        return text
